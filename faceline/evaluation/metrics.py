"""Metrics of a bundle, computed from the predictions table alone and three constants.

A row counts for a target where it has both a label and an answer; a target without such rows is left out, and so is a
number that these rows do not define (the AUC of one gender, say). So there is no NaN, and nothing that looks measured
but is not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support, roc_auc_score

from faceline.datasets.labels import GENDERS, Gender
from faceline.evaluation.bootstrap import Bootstrap
from faceline.evaluation.judged import Floats, Judged
from faceline.evaluation.reliability import calibration
from faceline.evaluation.slices import crossings, interval, slices
from faceline.evaluation.wording import FEW

CLOSE = 5  # years; cs5, the "cumulative score", is the share of ages predicted this close or closer
DIGITS = 6  # of every number in metrics.json
DRAWS = Bootstrap(samples=2000, seed=1, level=0.95)  # of the headline metrics' intervals
BY_GROUP = ("slices", "crossings")  # keys with hundreds of numbers, which metrics.json leaves to summary.json


@dataclass(frozen=True)
class Constants:
    """What the constant predictor always answers, learnt from the training subset; None where it has no such label."""

    age_median: float | None = None  # years
    gender_majority: int | None = None
    race_majority: int | None = None


def evaluate(
    predictions: pa.Table, constants: Constants, temperatures: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """The metrics of a table with schema PREDICTIONS.

    Args:
        temperatures: by target, what the bundle divided its logits by; probabilities are judged without them, too.

    Returns:
        `age`, `gender` and `race` (where there is something to judge), `baseline` (the same judged for `constants`),
        `slices` and `crossings` (see `slices`) and `rows`; numbers are rounded to six digits. Beside a headline metric
        stand the bounds of its 95 % interval, as `mae_low` and `mae_high`, if its groups are enough for one.
    """
    judged = Judged.of(predictions)
    metrics = {
        **_targets(judged, temperatures or {}),
        "baseline": _baseline(judged, constants),
        "slices": slices(judged),
        "crossings": crossings(judged),
    }
    return {**_tidy(metrics), "rows": predictions.num_rows}


def coverage(readable: int, cleaned: int, judged: int) -> dict[str, Any]:
    """How much of the data the metrics speak of, so that rejecting hard pictures cannot pass for accuracy.

    Args:
        readable: rows of the sources whose picture could be read (kept by ingest).
        cleaned: rows of them whose labels could be trusted (kept by clean).
        judged: rows of those with one usable face (kept by crop): what shards, and so the test subset, are drawn from.

    Returns:
        The three counts, `share` = judged / cleaned (what detection and quality left, which a serving model would
        meet all the same) and `label_rules` = cleaned / readable (what the rules on labels left).
    """
    counts = {"readable": readable, "cleaned": cleaned, "judged": judged}
    shares = {"share": judged / cleaned if cleaned else 0.0, "label_rules": cleaned / readable if readable else 0.0}
    return {**counts, **{name: round(share, DIGITS) for name, share in shares.items()}}


def _targets(judged: Judged, temperatures: Mapping[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    age, age_predicted = judged.pair("age")
    if len(age):
        error = np.abs(age_predicted - age)
        groups = judged.group[judged.known("age")]
        squares = {name: float(np.sqrt(bound)) for name, bound in _bounds("rmse", error**2, groups).items()}
        found["age"] = {**_age(age, age_predicted), **_bounds("mae", error, groups), **squares, **interval(judged)}
    gender, _ = judged.pair("gender")
    if len(gender):
        found["gender"] = _gender(judged)
    race, race_predicted = judged.pair("race")
    if len(race):
        found["race"] = {
            "accuracy": accuracy_score(race, race_predicted),
            # Of the races that there are: an answer that names another is wrong, and no class of its own.
            "macro_f1": f1_score(race, race_predicted, labels=np.unique(race), average="macro", zero_division=0),
        }
    for target in found.keys() & {"gender", "race"}:
        label, answer = judged.pair(target)
        right = np.asarray(label == answer, dtype=np.float64)
        found[target] |= _bounds("accuracy", right, judged.group[judged.known(target)], DRAWS.share)
        found[target] |= calibration(judged, target, temperatures.get(target))
    return found


def _bounds(
    name: str,
    values: Floats,
    groups: NDArray[np.int64],
    bounds: Callable[[Floats, NDArray[np.int64]], tuple[float, float]] = DRAWS.interval,
) -> dict[str, float]:
    """The interval of the mean of `values` in such groups, (N,) each, by `bounds`; of the root of a mean, the root."""
    if len(np.unique(groups)) < FEW:
        return {}
    low, high = bounds(values, groups)
    return {f"{name}_low": low, f"{name}_high": high}


def _age(age: Floats, predicted: Floats) -> dict[str, float]:
    """In years, but cs5 (a share); bias > 0 means that people are taken to be older than their labels say."""
    error = predicted - age
    absolute = np.abs(error)
    low, middle, high = np.quantile(absolute, (0.25, 0.5, 0.75))
    spread = {"q25": low, "q50": middle, "q75": high, "max": np.max(absolute), "bias": np.mean(error)}
    return {**_age_errors(age, predicted), **{name: float(value) for name, value in spread.items()}}


def _age_errors(age: Floats, predicted: Floats) -> dict[str, float]:
    error = np.abs(predicted - age)
    return {
        "mae": float(np.mean(error)),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "cs5": float(np.mean(error <= CLOSE)),
    }


def _gender(judged: Judged) -> dict[str, Any]:
    """Accuracy; F1 and AUC with "female" as the positive class; precision and recall of each gender."""
    label, answer = judged.pair("gender")
    precision, recall, f1, _ = precision_recall_fscore_support(
        label, answer, labels=[float(gender) for gender in Gender], zero_division=np.nan
    )
    answered = ~np.isnan(judged.gender) & ~np.isnan(judged.female_probability)
    both = len(np.unique(label)) == len(Gender)
    return {
        "accuracy": accuracy_score(label, answer),
        "f1": f1[Gender.FEMALE],
        "auc": roc_auc_score(label, judged.female_probability[answered]) if both else float("nan"),
        "precision": dict(zip(GENDERS, precision, strict=True)),
        "recall": dict(zip(GENDERS, recall, strict=True)),
    }


def _baseline(judged: Judged, constants: Constants) -> dict[str, Any]:
    """The constant predictor on the same rows: what a bundle that learnt nothing would get."""
    found: dict[str, Any] = {}
    age, _ = judged.pair("age")
    if len(age) and constants.age_median is not None:
        found["age"] = _age_errors(age, np.full_like(age, constants.age_median))
    for target, majority in (("gender", constants.gender_majority), ("race", constants.race_majority)):
        label, _ = judged.pair(target)
        if len(label) and majority is not None:
            found[target] = {"accuracy": float(np.mean(label == majority))}
    return found


def _tidy(value: Any) -> Any:
    """`value` with its numbers as rounded plain floats; undefined ones (NaN) are left out of their mapping."""
    if isinstance(value, dict):
        return {key: _tidy(item) for key, item in value.items() if not (isinstance(item, float) and np.isnan(item))}
    return value if isinstance(value, int) else round(float(value), DIGITS)
