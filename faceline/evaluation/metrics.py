"""Metrics of a bundle, computed from the predictions table alone and three constants.

A row counts for a target where it has both a label and an answer; a target without such rows is left out, and so is a
number that these rows do not define (the AUC of one gender, say). So there is no NaN, and nothing that looks measured
but is not.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support, roc_auc_score

from faceline.datasets.labels import GENDERS, Gender
from faceline.evaluation.judged import Floats, Judged
from faceline.evaluation.slices import slices

CLOSE = 5  # years; cs5, the "cumulative score", is the share of ages predicted this close or closer
DIGITS = 6  # of every number in metrics.json


@dataclass(frozen=True)
class Constants:
    """What the constant predictor always answers, learnt from the training subset; None where it has no such label."""

    age_median: float | None = None  # years
    gender_majority: int | None = None
    race_majority: int | None = None


def evaluate(predictions: pa.Table, constants: Constants) -> dict[str, Any]:
    """The metrics of a table with schema PREDICTIONS.

    Returns:
        `age`, `gender` and `race` (where there is something to judge), `baseline` (the same judged for `constants`),
        `slices` (see `slices.slices`) and `rows`; numbers are rounded to six digits.
    """
    judged = Judged.of(predictions)
    metrics = {**_targets(judged), "baseline": _baseline(judged, constants), "slices": slices(judged)}
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


def _targets(judged: Judged) -> dict[str, Any]:
    found: dict[str, Any] = {}
    age, age_predicted = judged.pair("age")
    if len(age):
        found["age"] = {**_age(age, age_predicted), "interval_coverage": _interval_coverage(judged)}
    gender, _ = judged.pair("gender")
    if len(gender):
        found["gender"] = _gender(judged)
    race, race_predicted = judged.pair("race")
    if len(race):
        found["race"] = {
            "accuracy": accuracy_score(race, race_predicted),
            "macro_f1": f1_score(race, race_predicted, average="macro", zero_division=0),
        }
    return found


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


def _interval_coverage(judged: Judged) -> float:
    """The share of labels inside the interval that the bundle gave; NaN where it gave none."""
    known = ~np.isnan(judged.age) & ~np.isnan(judged.age_low) & ~np.isnan(judged.age_high)
    if not known.any():
        return float("nan")
    inside = (judged.age_low <= judged.age) & (judged.age <= judged.age_high)
    return float(np.mean(inside[known]))


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
