"""What the validation shard tells about a trained bundle: its metrics, and how wide the interval of an age must be."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faceline.learning import heads, inputs
from faceline.learning.card import AgeInterval
from faceline.learning.inputs import Subset
from faceline.learning.recipe import Recipe
from faceline.learning.training import Trained

COVERAGE = 0.9  # share of ages that the interval is to hold


def validate(trained: Sequence[Trained], recipe: Recipe, shards: Path) -> tuple[dict[str, Any], AgeInterval | None]:
    """Metrics on the validation shard by target, and the interval of an age (None without age).

    The shard also chose the best epoch, so both are a little better than on pictures that nobody has seen.
    """
    subset = Subset.of(shards, "val")
    metrics: dict[str, Any] = {"rows": subset.rows}
    interval = None
    for network in trained:
        names = network.settings.targets.names
        collected: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for pictures, labels, weights in inputs.judging(subset, recipe, names):
            outputs = network.model.predict_on_batch(pictures)
            for name in names:
                known = weights[name].numpy() > 0
                collected[name].append(_errors(name, outputs[name], labels[name].numpy()[:, 0], recipe)[known])
        errors = {name: np.concatenate(parts) for name, parts in collected.items()}
        for name, values in errors.items():
            score = float(values.mean()) if len(values) else None
            metrics[name] = {"mae": score} if name == "age" else {"accuracy": None if score is None else 1 - score}
        if "age" in errors and len(errors["age"]):
            half_width = conformal_half_width(errors["age"], COVERAGE)
            interval = AgeInterval(coverage=COVERAGE, half_width=half_width)
    return metrics, interval


def conformal_half_width(errors: np.ndarray, coverage: float) -> float:
    """Split conformal prediction: the smallest of the absolute `errors` (n,) that covers, corrected for their number.

    Lei et al. 2018, https://arxiv.org/abs/1604.04173, section 2.2. With too few errors for the coverage, the largest.
    """
    rank = math.ceil((len(errors) + 1) * coverage)
    return float(np.sort(errors)[min(rank, len(errors)) - 1])


def _errors(target: str, outputs: np.ndarray, labels: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Absolute errors in years (n,) for age, else 1 for a wrong answer and 0 for a right one."""
    if target == "age":
        errors: np.ndarray = np.abs(heads.years(outputs, recipe.age_answers) - labels)
    elif target == "gender":
        errors = (outputs[:, 0] >= 0.5) != labels
    else:
        errors = outputs.argmax(axis=1) != labels
    return errors.astype(float)
