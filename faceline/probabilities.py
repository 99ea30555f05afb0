"""Probabilities of classes: how they change with a temperature, and how well labels bear them out."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

SMALLEST = 1e-7  # a float32 near 1 knows no more of what it lacks; keeps logarithms finite

Floats = NDArray[np.float64]


def tempered(probabilities: NDArray[np.floating], temperature: float) -> Floats:
    """Softened (temperature above 1) or sharpened (below 1): p^(1/T), adding up to 1; shape (n, classes) as given.

    It divides the logits by T, of a sigmoid too if both of its classes are given; no order of classes changes, and
    `untempered` undoes it. Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2.
    """
    logits = np.log(np.clip(np.asarray(probabilities, np.float64), SMALLEST, 1)) / temperature
    return np.asarray(softmax(logits, axis=1))


def untempered(probabilities: NDArray[np.floating], temperature: float) -> Floats:
    """What `tempered` made these of: p^T, adding up to 1; shape (n, classes) as given.

    Sharpened ones lie far below SMALLEST, so only a 0 counts as that: it is what float32 could not hold.
    """
    given = np.asarray(probabilities, np.float64)
    return np.asarray(softmax(temperature * np.log(np.where(given > 0, given, SMALLEST)), axis=1))


def log_loss(probabilities: NDArray[np.floating], labels: NDArray[np.floating]) -> float:
    """The mean of -ln of the label's probability, in nats, for (n, classes) and codes (n,), n > 0."""
    of_label = np.take_along_axis(np.asarray(probabilities, np.float64), labels.astype(int)[:, None], axis=1)
    return float(-np.log(np.clip(of_label, SMALLEST, 1)).mean())


def binary(probability: NDArray[np.floating]) -> Floats:
    """Both classes' probabilities (n, 2), of that of the second (n,)."""
    second = np.asarray(probability, np.float64)
    return np.column_stack([1 - second, second])
