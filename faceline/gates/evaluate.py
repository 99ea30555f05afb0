"""The gate of data/evaluate: it judges the model. One that does not pass is measured and reported, but not promoted."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import Field, model_validator

from faceline.datasets.labels import OLDEST, TARGETS, Race
from faceline.datasets.tables import PREDICTIONS
from faceline.evaluation.metrics import Constants
from faceline.evaluation.metrics import evaluate as measure
from faceline.files import read_json, read_table
from faceline.gates.expectations import Expectation, Gate, Inputs, Judged, between, known, rows
from faceline.gates.frames import codes, counted, facts, identified, read_summary, shape
from faceline.gates.limits import Rows, Share
from faceline.params import Settings, parse_settings

Higher = Literal[
    "age_cs5", "age_interval_coverage", "gender_accuracy", "gender_f1", "gender_auc", "race_accuracy", "race_macro_f1"
]
Lower = Literal["age_mae", "age_rmse", "gender_ece", "race_ece"]  # age: years
Positive = Annotated[float, Field(gt=0)]
HIGHER: tuple[str, ...] = Higher.__args__  # type: ignore[attr-defined]
LOWER: tuple[str, ...] = Lower.__args__  # type: ignore[attr-defined]
PROMISES = ("age_interval_coverage", "gender_ece", "race_ece")  # kept or not; more than kept is no better model
BESIDE_CONSTANT = ("age_mae", "gender_accuracy", "race_accuracy")
ANSWERS = {
    "age_predicted": "age_predicted",
    "age_low": "age_low",
    "age_high": "age_high",
    "female_probability": "female_probability",
    "race_probabilities": "race_total",
}  # a column of the predictions, and the column of the judged frame that is null where it is
ROUNDING = 1e-4  # metrics are rounded to six digits, and years can be tens


class SliceLimits(Settings):
    """Bounds on each slice (an age band, a gender, a race) of at least `min_rows` rows."""

    min_rows: Rows
    max_age_mae: Positive  # years
    min_gender_accuracy: Share
    min_race_accuracy: Share


class Bounds(Settings):
    """Thresholds of the evaluate gate; a target that the bundle does not answer is not judged, and reported so."""

    min_rows: Rows  # of the test subset
    floors: dict[Higher, Share]
    ceilings: dict[Lower, float]
    age_mae_below_constant: Positive  # share of the mean error that always answering the median age has
    accuracy_above_constant: Annotated[float, Field(ge=-1, le=1)]  # of gender and race; the constant: the most frequent
    slices: SliceLimits
    coverage: Share  # least share of the cleaned rows that detection and quality left
    baseline_tolerance: Share  # by which a metric may be worse than models/baseline.json, relative to it


class Limits(Bounds):
    """The thresholds of a dataset, and those that a recipe has instead."""

    recipes: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _allowed(self) -> Self:
        for recipe in self.recipes:
            self.of(recipe)
        return self

    def of(self, recipe: str) -> Bounds:
        """The thresholds in force for a recipe; SettingsError names a key or value that is not allowed."""
        own = self.recipes.get(recipe, {})
        return parse_settings(
            Bounds, {**self.model_dump(exclude={"recipes"}), **own}, f"gates.evaluate.recipes.{recipe}"
        )


def suite(inputs: Inputs, limits: Limits) -> Iterator[Judged]:
    """Shape, then the answers, then metrics recomputed from them against every bound."""
    bounds = limits.of(inputs.recipe)
    yield from shape(inputs.table / "predictions.parquet", PREDICTIONS)
    predictions = read_table(inputs.table / "predictions.parquet")
    yield _answers(predictions, bounds)
    summary = read_summary(inputs.table)
    yield counted(summary, len(predictions), len(predictions), [])
    constants = Constants(**summary.get("constants", {}))
    metrics = measure(predictions, constants)
    values = flat(metrics)
    yield _recomputed(values, flat(summary.get("metrics", {})))
    yield _bounded(values, bounds)
    yield _beside_constant(values, flat(metrics["baseline"]), bounds)
    yield _slices(metrics["slices"], bounds.slices)
    yield _coverage(summary, bounds)
    yield _beside_baseline(values, inputs, bounds)


def flat(metrics: dict[str, Any]) -> dict[str, float]:
    """The numbers of each target by the names that thresholds use: `age_mae`, `gender_accuracy`, …"""
    return {
        f"{target}_{name}": value
        for target in TARGETS
        for name, value in metrics.get(target, {}).items()
        if f"{target}_{name}" in HIGHER + LOWER
    }


def _answers(predictions: pa.Table, bounds: Bounds) -> Judged:
    """A target, and the interval of age, is answered in every row or in none, or leaving out hard rows would score.

    NaN is no answer, it is a network that diverged.
    """
    frame = predictions.drop_columns("race_probabilities").to_pandas()
    unknown = [np.nan] * len(Race)
    races = [unknown if row is None else row for row in predictions.column("race_probabilities").to_pylist()]
    table = np.array(races, float).reshape(len(frame), len(Race))
    frame["race_lowest"], frame["race_total"] = table.min(axis=1), table.sum(axis=1)
    frame["interval"] = frame["age_high"] - frame["age_low"]
    answered = [column for name, column in ANSWERS.items() if predictions.column(name).null_count < len(frame)]
    expectations = [
        rows(bounds.min_rows, why="a few rows judge nothing"),
        *identified(),
        *codes(),
        *(known(column, why="a bundle answers in every row or, without the target, in none") for column in answered),
        between("age_predicted", -20, 150, why="years of a life, with room for a regression's error"),
        between("interval", 0, 2 * OLDEST, why="not upside down, nor beyond all ages both ways; its width in years"),
        between("female_probability", 0, 1, why="a probability"),
        between("race_lowest", 0, 1, why="a probability"),
        between("race_total", 0.999, 1.001, why="exactly one race is answered, so probabilities add up to 1"),
    ]
    return Judged("predictions.parquet", frame, "image_id", expectations, numbers={"rows": len(frame)})


def _recomputed(values: dict[str, float], said: dict[str, float]) -> Judged:
    names = sorted(values.keys() | said.keys())
    frame = pd.DataFrame({"metric": pd.Series(names, dtype=str)})
    frame["recomputed"] = pd.Series([values.get(name) for name in names], dtype=float)
    frame["said"] = pd.Series([said.get(name) for name in names], dtype=float)
    frame["gap"] = (frame["recomputed"] - frame["said"]).abs()
    expectations = [
        rows(1, why="the bundle answers some target"),
        known("gap", why="every metric is said, and can be computed from the predictions"),
        between("gap", 0, ROUNDING, why="metrics follow from the predictions alone"),
    ]
    return Judged("metrics", frame, "metric", expectations)


def _bounded(values: dict[str, float], bounds: Bounds) -> Judged:
    limits: dict[str, tuple[float | None, float | None]] = {
        name: (floor, None) for name, floor in bounds.floors.items()
    }
    limits |= {name: (None, ceiling) for name, ceiling in bounds.ceilings.items()}
    why = "a worse model is of no use"
    expectations = [between(name, *limit, why=why) for name, limit in limits.items() if name in values]
    absent = sorted(limits.keys() - values.keys())
    skipped = tuple(f"bound on {name}: no row has both a label and an answer" for name in absent)
    return facts("floors and ceilings", values, expectations, skipped)


def _beside_constant(values: dict[str, float], constant: dict[str, float], bounds: Bounds) -> Judged:
    """The mean age error as a share of the constant predictor's, and by how much accuracies exceed its."""
    gains: dict[str, float] = {}
    expectations: list[Expectation] = []
    if "age_mae" in values and constant.get("age_mae"):
        gains["age_mae"] = values["age_mae"] / constant["age_mae"]
        most = bounds.age_mae_below_constant
        expectations.append(
            between("age_mae", None, most, why="it learnt more than the median age; share of its error")
        )
    for name in BESIDE_CONSTANT[1:]:
        if name in values and name in constant:
            gains[name] = values[name] - constant[name]
            least = bounds.accuracy_above_constant
            expectations.append(
                between(name, least, None, why="it learnt more than which label is frequent; difference")
            )
    alone = [name for name in BESIDE_CONSTANT if name in values and name not in gains]
    skipped = tuple(f"{name} beside the constant predictor's, which is not known" for name in alone)
    return facts("beside the constant predictor", gains, expectations, skipped)


def _slices(slices: dict[str, Any], limits: SliceLimits) -> Judged:
    measured: list[dict[str, Any]] = []
    for by, groups in slices.items():
        for group, scores in groups.items():
            large = {target: score for target, score in scores.items() if score["n"] >= limits.min_rows}
            found = {target: score["mae" if target == "age" else "accuracy"] for target, score in large.items()}
            measured.append({"slice": f"{by} {group}", **found})
    frame = pd.DataFrame(measured, columns=["slice", *TARGETS]).astype(dict.fromkeys(TARGETS, float))
    expectations = [
        rows(1, why="labels form groups"),
        between("age", None, limits.max_age_mae, why="an average hides for whom a model is wrong; mean error, years"),
        between("gender", limits.min_gender_accuracy, None, why="as for age; accuracy"),
        between("race", limits.min_race_accuracy, None, why="as for age; accuracy"),
    ]
    return Judged("slices", frame, "slice", expectations)


def _coverage(summary: dict[str, Any], bounds: Bounds) -> Judged:
    covered = summary.get("metrics", {}).get("coverage", {}).get("share", 0.0)
    enough = between("share", bounds.coverage, 1, why="rejecting hard pictures can't pass for accuracy")
    return facts("coverage", {"share": covered}, [enough])


def _beside_baseline(values: dict[str, float], inputs: Inputs, bounds: Bounds) -> Judged:
    """How much worse each metric is than the dataset's baseline, relative to it; negative where it is better."""
    baseline = read_json(inputs.beside).get(inputs.dataset)
    if baseline is None:
        return facts("beside baseline", {}, [], (f"{inputs.beside} has no entry for dataset {inputs.dataset}",))
    before = flat(baseline["metrics"])
    worse = {
        name: (values[name] - before[name]) * (1 if name in LOWER else -1) / before[name]
        for name in sorted(values.keys() & before.keys() - set(PROMISES))
        if before[name] > 0
    }
    most = bounds.baseline_tolerance
    alone = sorted((values.keys() ^ before.keys()) - set(PROMISES))
    expectations = [between(name, None, most, why="not worse than the model in use, relative to it") for name in worse]
    skipped = tuple(f"{name}: only one of model and baseline has it" for name in alone)
    return facts("beside baseline", worse, expectations, skipped)


GATE = Gate(Limits, suite)
