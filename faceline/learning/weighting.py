"""Labels of training rows: whether a recipe can learn from them, how much each counts, and how often it is drawn.

Counts of labels come from the manifest of the shards, by code as text; rows whose label is unknown are "unknown".
"""

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import gaussian_filter1d

from faceline.datasets.labels import AGE_BINS, RACES
from faceline.errors import SettingsError, SourceError
from faceline.learning.oversampling import Smote, require_neighbours
from faceline.learning.recipe import Recipe, Sampling
from faceline.learning.targets import Age, Head, Race

Counts = Mapping[str, Mapping[str, int]]  # of rows, by target and label
CLASSES = {"age": AGE_BINS, "race": len(RACES)}


def require_labels(recipe: Recipe, name: str, counts: Counts) -> None:
    """Refuse a target that no row of train is labelled with: its head would learn nothing, and answer all the same.

    Nor can a code be oversampled that hardly any row has, nor rows be drawn by labels that none has.

    Raises:
        SettingsError: the recipe called `name` cannot learn from such rows.
    """
    for target in recipe.targets:
        if not counts[target].keys() - {"unknown"}:
            raise SettingsError(f"recipes.{name} learns {target}, which no row of train has; choose a recipe without")
    if (by := recipe.sampling.by) != "none" and not counts[by].keys() - {"unknown"}:
        raise SettingsError(f"recipes.{name}.sampling.by = {by!r}, which no row of train has; choose another, or none")
    for target, learner in ((t, found) for entry in recipe.networks for t, found in entry.refit.learners.items()):
        if isinstance(learner, Smote):
            require_neighbours(learner, target, counts[target])


def label_weights(head: Head, counts: Counts) -> np.ndarray | None:
    """The weight of a row in the head's loss by its label, float32 (117,) or (5,) with a mean of 1 over the rows.

    For age label distribution smoothing (Yang et al. 2021, https://arxiv.org/abs/2102.09554, section 3.1), for race
    class weights. None where all rows count alike; SourceError where no row has such a label.
    """
    if isinstance(head, Age) and (smoothing := head.label_distribution_smoothing):
        known = rows_by_label("age", counts)
        density = gaussian_filter1d(known, smoothing.sigma, mode="constant")
        return _inverse(density, known, smoothing.power, smoothing.cap)
    if isinstance(head, Race) and head.class_weights == "balanced":
        known = rows_by_label("race", counts)
        return _inverse(known, known, 1, head.cap)
    if isinstance(head, Race) and isinstance(head.class_weights, dict):
        chosen = {str(name): weight for name, weight in head.class_weights.items()}
        return np.array([chosen.get(name, 1) for name in RACES], np.float32)
    return None


def repetitions(sampling: Sampling, counts: Counts) -> np.ndarray | None:
    """How often a row is to be drawn in an epoch on average, by its label, float32 (117,) or (5,).

    Bins of n rows get a share of the labelled rows in proportion to n^(1 - power). None where each is drawn once.

    Raises:
        SourceError: no row has such a label.
    """
    if sampling.by == "none":
        return None
    known = rows_by_label(sampling.by, counts)
    bins = np.arange(len(known)) // (sampling.years if sampling.by == "age" else 1)
    rows = np.bincount(bins, known)
    share = np.where(rows > 0, rows ** (1 - sampling.power), 0)
    times = share / share.sum() * rows.sum() / np.maximum(rows, 1)
    return np.asarray(times[bins], np.float32)


def rows_by_label(target: str, counts: Counts) -> np.ndarray:
    """Rows of each code, float64; SourceError where none is known."""
    known = np.array([counts[target].get(str(code), 0) for code in range(CLASSES[target])], float)
    if not known.any():
        raise SourceError(f"no row of train has a known {target} to weight or to sample by")
    return known


def _inverse(density: np.ndarray, rows: np.ndarray, power: float, cap: float) -> np.ndarray:
    """1 / density^power, capped at `cap` times its mean over the rows, then with a mean of 1."""
    weights = np.divide(1, density**power, out=np.full(len(density), np.inf), where=density > 0)
    there = rows > 0
    weights = np.minimum(weights / np.average(weights[there], weights=rows[there]), cap)
    return np.asarray(weights / np.average(weights[there], weights=rows[there]), np.float32)
