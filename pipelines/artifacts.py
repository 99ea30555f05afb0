"""What a run leaves in the UI beside its states: tables, counts, metrics.

Keys are stable, so the UI shows the history of each.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import Artifact, create_markdown_artifact, create_table_artifact
from slugify import slugify

from pipelines.project import Project, Stage, read_json, verdict

Row = dict[str, Any]
BASELINE = "models/baseline.json"  # {dataset: {"metrics": …}}, the accepted model of each
SHOWN = 5  # failing rows shown of an expectation


def publish_gate(stage: Stage) -> None:
    """A table of a gate's expectations, if it left a report."""
    report = verdict(stage)
    if report is not None:
        passed = "passed" if report.get("success") else "FAILED"
        skipped = "".join(f"\n- not judged: {reason}" for reason in report.get("skipped", []))
        create_table_artifact(
            key=slugify(stage.name), table=gate_rows(report), description=f"**{stage.name} {passed}**{skipped}"
        )


def gate_rows(report: Mapping[str, Any]) -> list[Row]:
    """A row an expectation: those that were not met first."""
    found = sorted(report["expectations"], key=lambda item: item["success"])
    return [
        {
            "verdict": "met" if item["success"] else "NOT MET",
            "table": item["table"],
            "column": item.get("column") or "",
            "expectation": item["expectation"].removeprefix("expect_"),
            "rows": "; ".join(_short(row) for row in item["examples"][:SHOWN]),
            "expected": _short(item["expected"]),
            "observed": _short(item["observed"]),
            "why": item.get("reason", ""),
        }
        for item in found
    ]


def publish_metrics(project: Project, stages: Sequence[Stage]) -> None:
    """The metrics that these stages left, with their change against the dataset's last run and accepted baseline."""
    metrics = flat_metrics(project, stages)
    if not metrics:
        return
    dataset, recipe = project.chosen()
    key = slugify(f"metrics {dataset}")
    before = Artifact.get(key)
    last = {row["metric"]: row["value"] for row in json.loads(str(before.data))} if before else {}
    accepted = (read_json(project.folder / BASELINE) or {}).get(dataset, {}).get("metrics", {})
    rows = metric_rows(metrics, last, flat(accepted))
    create_table_artifact(key=key, table=rows, description=f"**{dataset}**, recipe `{recipe}`")


def metric_rows(now: Mapping[str, float], last: Mapping[str, float], baseline: Mapping[str, float]) -> list[Row]:
    """A row a metric: its value, and how much more that is than in the last run and in the baseline."""

    def change(name: str, other: Mapping[str, float]) -> float | None:
        return round(now[name] - other[name], 6) if name in other else None

    return [
        {
            "metric": name,
            "value": value,
            "last run": last.get(name),
            "change": change(name, last),
            "baseline": baseline.get(name),
            "against baseline": change(name, baseline),
        }
        for name, value in now.items()
    ]


def flat_metrics(project: Project, stages: Sequence[Stage]) -> dict[str, float]:
    """The metrics that these stages left, by their dotted names."""
    left = {path.relative_to(project.folder).as_posix() for stage in stages for path in stage.metrics}
    contents = [content for path, content in project.metrics().items() if path in left]
    return {name: value for content in contents for name, value in flat(content).items()}


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, float]:
    """The numbers of a nested mapping by their dotted names."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{above}{name}"] = value
    return found


def publish_summary(states: Mapping[str, tuple[str, str]], stages: Sequence[Stage], report: str | None) -> None:
    """What the run did, and what these stages kept and rejected, as a page."""
    create_markdown_artifact(key="summary", markdown=summary(states, stages, report), description="What this run did")


def summary(states: Mapping[str, tuple[str, str]], stages: Sequence[Stage], report: str | None) -> str:
    """The page; `states` are name and message of each stage's last state."""
    lines = [f"[The report]({report})", ""] if report else []
    counted = {stage.name: counts for stage in stages if (counts := _counts(stage)) is not None}
    if counted:
        lines += ["| stage | rows in | kept | rejected |", "|---|---:|---:|---|"]
    for name, counts in counted.items():
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts["rejected"].items()) or "none"
        lines.append(f"| {name} | {counts['rows_in']:,} | {counts['kept']:,} | {reasons} |")
    lines += ["", "| stage | state | |", "|---|---|---|"]
    lines += [f"| {name} | {state} | {_cell(message)} |" for name, (state, message) in states.items()]
    return "\n".join(lines)


def _counts(stage: Stage) -> dict[str, Any] | None:
    """The summary.json that a stage left beside its tables: rows in, kept, rejected by reason."""
    for out in stage.outs:
        counts = read_json(out / "summary.json")
        if isinstance(counts, dict) and {"rows_in", "kept", "rejected"} <= counts.keys():
            return counts
    return None


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(item)}" for name, item in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    return str(value)


def _cell(text: str) -> str:
    """Text that stays inside its cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())
