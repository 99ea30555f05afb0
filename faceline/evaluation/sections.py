"""Numbers of the stages as the report and the model card tell them: plain rows of text, ready for a table."""

from dataclasses import dataclass
from itertools import product
from typing import Any

from faceline.datasets.labels import GENDERS, RACES
from faceline.evaluation.material import GATES, STAGES
from faceline.evaluation.slices import BAND_NAMES, CROSSED
from faceline.evaluation.unmet import expected, told
from faceline.evaluation.wording import FEW, MISSING, between, number, words

EXAMPLES = 5  # failing rows named for an expectation
GROUPS = {"age": BAND_NAMES, "gender": GENDERS, "race": RACES}  # in this order; JSON sorts them by name
GROUP_MEASURES = (  # of a group, and their units
    ("age.mae", "years"),
    ("age.bias", "signed"),
    ("age.interval_coverage", "share"),
    ("age.interval_width", "years"),
    ("gender.accuracy", "share"),
    ("race.accuracy", "share"),
)


@dataclass(frozen=True)
class Step:
    """What a stage did with its rows; shares are of the rows of the first stage."""

    stage: str
    rows_in: int
    kept: int
    kept_share: float
    lost_share: float
    rejected: list[tuple[str, int]]  # by reason, most frequent first
    notes: list[str]


@dataclass(frozen=True)
class Failure:
    """An expectation that a gate did not find met."""

    what: str
    observed: str
    reason: str
    examples: list[str]


@dataclass(frozen=True)
class Verdict:
    """What a gate said: `state` is passed, failed or not run."""

    gate: str
    state: str
    met: int
    total: int
    failures: list[Failure]
    skipped: list[str]


@dataclass(frozen=True)
class Measure:
    """A number of the bundle beside that of the constant predictor, where it has one."""

    name: str
    bundle: str
    constant: str = MISSING
    interval: str = ""  # of the bundle's


# Further counts in a stage's summary, and the order of their keys.
COUNTED = (
    ("near-identical", ("pairs", "contradicting")),
    ("faces", ("none", "one", "several", "failed")),
    ("subsets", ("train", "val", "test")),
)
# Name, where it stands in metrics.json, and its unit.
MEASURES = (
    ("Age: mean absolute error", "age.mae", "years"),
    ("Age: root mean squared error", "age.rmse", "years"),
    ("Age: within 5 years", "age.cs5", "share"),
    ("Age: bias (positive: too old)", "age.bias", "signed"),
    ("Age: error of the best quarter, at most", "age.q25", "years"),
    ("Age: error of the better half, at most", "age.q50", "years"),
    ("Age: error of three quarters, at most", "age.q75", "years"),
    ("Age: largest error", "age.max", "years"),
    ("Age: label inside the given interval", "age.interval_coverage", "share"),
    ("Age: width of the interval, on average", "age.interval_width", "years"),
    ("Gender: accuracy", "gender.accuracy", "share"),
    ("Gender: precision of “male”", "gender.precision.male", "share"),
    ("Gender: precision of “female”", "gender.precision.female", "share"),
    ("Gender: recall of “male”", "gender.recall.male", "share"),
    ("Gender: recall of “female”", "gender.recall.female", "share"),
    ("Gender: F1 (female)", "gender.f1", "number"),
    ("Gender: area under the ROC curve", "gender.auc", "number"),
    ("Gender: calibration error", "gender.ece", "share"),
    ("Gender: calibration error before temperature scaling", "gender.uncalibrated.ece", "share"),
    ("Gender: log loss", "gender.nll", "number"),
    ("Gender: log loss before temperature scaling", "gender.uncalibrated.nll", "number"),
    ("Race: accuracy", "race.accuracy", "share"),
    ("Race: macro F1", "race.macro_f1", "number"),
    ("Race: calibration error", "race.ece", "share"),
    ("Race: calibration error before temperature scaling", "race.uncalibrated.ece", "share"),
    ("Race: log loss", "race.nll", "number"),
    ("Race: log loss before temperature scaling", "race.uncalibrated.nll", "number"),
)


def steps(summaries: dict[str, dict[str, Any]]) -> list[Step]:
    """The stages that have left a summary, in order."""
    there = [(stage, summaries[stage]) for stage in STAGES if stage in summaries]
    most = max((summary["rows_in"] for _, summary in there), default=0) or 1
    return [
        Step(
            stage=stage,
            rows_in=summary["rows_in"],
            kept=summary["kept"],
            kept_share=summary["kept"] / most,
            lost_share=(summary["rows_in"] - summary["kept"]) / most,
            rejected=sorted(summary["rejected"].items(), key=lambda item: (-item[1], item[0])),
            notes=_notes(summary),
        )
        for stage, summary in there
    ]


def verdicts(gates: dict[str, dict[str, Any]]) -> list[Verdict]:
    """Every gate, also those that have not run."""
    return [_verdict(name, gates[name]) if name in gates else Verdict(name, "not run", 0, 0, [], []) for name in GATES]


def measures(metrics: dict[str, Any], which: tuple[tuple[str, str, str], ...] = MEASURES) -> list[Measure]:
    """Those of the measures `which` that there are, each beside the constant predictor's."""
    return [
        Measure(
            name,
            words(number(metrics, path), unit),
            words(number(metrics, f"baseline.{path}"), unit),
            between(metrics, path, unit),
        )
        for name, path, unit in which
        if number(metrics, path) is not None
    ]


def fold_measures(metrics: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, mean over the folds and standard deviation of each measure that cross-validation has given."""
    return [
        (
            name,
            words(number(metrics["mean"], path), unit),
            words(number(metrics["sd"], path), "years" if unit == "signed" else unit),  # a deviation has no sign
        )
        for name, path, unit in MEASURES
        if number(metrics["mean"], path) is not None
    ]


def slice_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups of people: by, group, n, few (whether n says little) and cells: what `_group_row` tells of each."""
    rows = []
    for by, names in GROUPS.items():
        there = metrics.get("slices", {}).get(by, {})
        rows += [_group_row(by, name, there[name]) for name in names if name in there]
    return rows


def crossing_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The same for groups of two labels, those with few rows left out."""
    rows = []
    for one, two in CROSSED:
        by = f"{one}, {two}"
        there = metrics.get("crossings", {}).get(by, {})
        names = (f"{name}, {other}" for name, other in product(GROUPS[one], GROUPS[two]))
        rows += [_group_row(by, name, there[name]) for name in names if name in there]
    return [row for row in rows if not row["few"]]


def _group_row(by: str, group: str, scores: dict[str, Any]) -> dict[str, Any]:
    """Each cell has a text and `few`: whether, in a group of many rows, few of them have the label that it judges."""
    n = max(score["n"] for score in scores.values())
    cells = []
    for path, unit in GROUP_MEASURES:
        value = number(scores, path)
        few = value is not None and scores[path.partition(".")[0]]["n"] < FEW <= n
        cells.append({"text": words(value, unit), "few": few})
    return {"by": by, "group": group, "n": n, "few": n < FEW, "cells": cells}


def _notes(summary: dict[str, Any]) -> list[str]:
    """What a stage reports beyond its counts, in words; unknown keys are left to summary.json."""
    skipped = [f"rule {rule} skipped: the source has no {field}" for rule, field in summary.get("skipped", {}).items()]
    told = [_counted(name, keys, summary.get(name.replace("-", "_"))) for name, keys in COUNTED]
    return [*skipped, *(note for note in told if note)]


def _counted(name: str, keys: tuple[str, ...], counts: dict[str, int] | None) -> str:
    return f"{name}: " + ", ".join(f"{counts[key]:,} {key}" for key in keys if key in counts) if counts else ""


def _verdict(name: str, gate: dict[str, Any]) -> Verdict:
    expectations = gate["expectations"]
    failures = [_failure(expectation) for expectation in expectations if not expectation["success"]]
    met = len(expectations) - len(failures)
    state = "passed" if gate["success"] else "failed"
    return Verdict(name, state, met, len(expectations), failures, [str(item) for item in gate.get("skipped", [])])


def _failure(expectation: dict[str, Any]) -> Failure:
    column = f"{expectation['column']}: " if expectation.get("column") else ""
    return Failure(
        what=column + expected(expectation["expectation"], expectation["expected"]),
        observed=told(expectation["observed"]),
        reason=str(expectation.get("reason", "")),
        examples=[told(example) for example in expectation["examples"][:EXAMPLES]],
    )
