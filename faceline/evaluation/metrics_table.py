"""The metrics of `faceline evaluate` for people: a table of all rows, one of groups, and a sentence on coverage."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from faceline.evaluation.wording import FEW

METRICS = (  # target, metric, what it is called, how it is printed
    ("age", "mae", "age: mean absolute error, years", "{:.2f}"),
    ("age", "rmse", "age: root mean squared error, years", "{:.2f}"),
    ("age", "bias", "age: bias, years", "{:+.2f}"),
    ("age", "cs5", "age: within 5 years", "{:.1%}"),
    ("age", "interval_coverage", "age: label inside the interval", "{:.1%}"),
    ("gender", "accuracy", "gender: accuracy", "{:.1%}"),
    ("gender", "auc", "gender: AUC", "{:.3f}"),
    ("race", "accuracy", "race: accuracy", "{:.1%}"),
    ("race", "macro_f1", "race: macro F1", "{:.3f}"),
)
GROUPS = (
    ("age", "mae", "age error, years", "{:.2f}"),
    ("age", "bias", "age bias, years", "{:+.2f}"),
    ("gender", "accuracy", "gender right", "{:.1%}"),
    ("race", "accuracy", "race right", "{:.1%}"),
)
MARK = "*"


def metrics_table(metrics: dict[str, Any]) -> Table:
    """A row a metric: over found faces, over all readable pictures, and of always giving one answer."""
    columns = (metrics, metrics["all_readable"], metrics["baseline"])
    table = Table("metric", "one good face", "every readable picture", "always the same answer")
    for target, metric, name, form in METRICS:
        cells = [_cell(values, target, metric, form) for values in columns]
        if any(cells):
            table.add_row(name, *cells)
    table.add_row("pictures", str(metrics["rows"]), str(metrics["all_readable"]["rows"]), "")
    return table


def groups_table(metrics: dict[str, Any]) -> Table:
    """A row a group of people, as labelled, over found faces; what comes from few pictures is marked."""
    table = Table("group", "pictures", *(name for _, _, name, _ in GROUPS))
    for by, groups in metrics["slices"].items():
        for group, scores in groups.items():
            rows = max(score["n"] for score in scores.values())
            cells = [str(rows) + _mark(rows)]
            for target, metric, _, form in GROUPS:
                cell = _cell(scores, target, metric, form)
                cells.append(cell + _mark(scores[target]["n"]) if cell and rows >= FEW else cell)
            table.add_row(f"{by} {group}", *cells)
            if any(cell.endswith(MARK) for cell in cells):
                table.caption = f"{MARK} from fewer than {FEW} pictures: it says little"
    return table


def coverage_sentence(metrics: dict[str, Any]) -> str:
    """How many rows there were, how many are judged, and what became of the others."""
    covered = metrics["coverage"]
    parts = [
        f"{metrics['rows_in']} rows, {covered['readable']} readable, {covered['cleaned']} different pictures, "
        f"{covered['judged']} of them ({covered['share']:.1%}) with one good face",
        *_left_out(metrics),
    ]
    return "; ".join(parts) + "."


def _left_out(metrics: dict[str, Any]) -> Iterator[str]:
    if metrics["rejected"]:
        yield "left out: " + ", ".join(f"{reason} {count}" for reason, count in metrics["rejected"].items())
    if metrics["implausible_ages"]:
        yield f"{metrics['implausible_ages']} ages that nobody has are taken as unknown"


def _mark(rows: int) -> str:
    return f" {MARK}" if rows < FEW else ""


def _cell(values: dict[str, Any], target: str, metric: str, form: str) -> str:
    """A number as text, with its 95 % interval where it has one; empty where there is none."""
    found = values.get(target, {})
    if metric not in found:
        return ""
    bounds = [form.format(found[f"{metric}_{end}"]) for end in ("low", "high") if f"{metric}_{end}" in found]
    return form.format(found[metric]) + (f" ({' to '.join(bounds)})" if bounds else "")
