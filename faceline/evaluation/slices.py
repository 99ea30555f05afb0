"""The same errors for each group of people: an average hides for whom a model is wrong.

Groups are formed by the labels (age band, gender, race, and two of them crossed), never by the answers.
"""

from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceline.datasets.labels import GENDERS, RACES
from faceline.evaluation.judged import Judged

# First years of the age bands. Below 9 gender can hardly be seen, so children stand apart; then decades.
BANDS = (0, 9, 20, 30, 40, 50, 60, 70, 80)
CROSSED = (("gender", "race"), ("gender", "age"), ("race", "age"))
BAND_NAMES = (*(f"{low}-{high - 1}" for low, high in pairwise(BANDS)), f"{BANDS[-1]}+")


def slices(judged: Judged) -> dict[str, Any]:
    """For each group that has rows: `{by: {group: {age: {mae, bias, n}, gender: {accuracy, n}, race: {accuracy, n}}}}`.

    `by` is age, gender or race; `n` is the number of rows that the value beside it was computed from. Of age there are
    further `interval_coverage` and `interval_width` (mean, years) where the bundle gives intervals.
    """
    return _judge(judged, groups(judged))


def crossings(judged: Judged) -> dict[str, Any]:
    """The same for two labels at a time: `by` is "gender, race" and so on, a group "male, white"."""
    by_label = groups(judged)
    crossed = {
        f"{one}, {two}": {
            f"{name}, {other}": rows & others
            for (name, rows), (other, others) in product(by_label[one].items(), by_label[two].items())
        }
        for one, two in CROSSED
    }
    return _judge(judged, crossed)


def _judge(judged: Judged, by_label: dict[str, dict[str, NDArray[np.bool_]]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for by, masks in by_label.items():
        scores = {name: _scores(judged.where(rows)) for name, rows in masks.items()}
        scores = {name: score for name, score in scores.items() if score}
        if scores:
            found[by] = scores
    return found


def groups(judged: Judged) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """The rows (N,) of each group by age band, gender and race: `{by: {group: mask}}`."""
    ends = (*BANDS[1:], np.inf)
    return {
        "age": {
            name: (judged.age >= low) & (judged.age < high)
            for name, low, high in zip(BAND_NAMES, BANDS, ends, strict=True)
        },
        "gender": {name: judged.gender == code for code, name in enumerate(GENDERS)},
        "race": {name: judged.race == code for code, name in enumerate(RACES)},
    }


def _scores(judged: Judged) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    age, age_predicted = judged.pair("age")
    if len(age):
        error = age_predicted - age
        scores["age"] = {"mae": float(np.mean(np.abs(error))), "bias": float(np.mean(error)), "n": len(age)}
        scores["age"] |= interval(judged)
    for target in ("gender", "race"):
        label, answer = judged.pair(target)
        if len(label):
            scores[target] = {"accuracy": float(np.mean(label == answer)), "n": len(label)}
    return scores


def interval(judged: Judged) -> dict[str, float]:
    """The share of ages inside the interval that the bundle gave, and its mean width in years; empty without any."""
    known = ~np.isnan(judged.age) & ~np.isnan(judged.age_low) & ~np.isnan(judged.age_high)
    if not known.any():
        return {}
    inside = (judged.age_low <= judged.age) & (judged.age <= judged.age_high)
    width = judged.age_high - judged.age_low
    return {"interval_coverage": float(np.mean(inside[known])), "interval_width": float(np.mean(width[known]))}
