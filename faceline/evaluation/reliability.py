"""How far probabilities can be believed: of the answers given with 80 %, are 80 % right?

`temperature` is the one that the bundle divided its logits by; where it is given, what the networks said without it is
judged beside.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceline.evaluation.judged import Floats, Judged, answered
from faceline.probabilities import log_loss, untempered

BINS = 15  # of equal width, as in Guo et al. 2017


@dataclass(frozen=True)
class Reliability:
    """Rows by the probability that was given to the answer; a bin without rows is left out."""

    confidence: Floats  # mean in each bin, shape (bins,)
    accuracy: Floats  # share that is right
    rows: NDArray[np.int64]

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of confidence and accuracy, weighted by rows.

        Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 2.
        """
        return float(np.average(np.abs(self.confidence - self.accuracy), weights=self.rows))


def reliability(probabilities: Floats, labels: Floats) -> Reliability:
    """Confidence beside accuracy of (N, codes) probabilities for codes (N,), N > 0."""
    confidence, right = probabilities.max(axis=1), answered(probabilities) == labels
    # A bin holds its upper edge, as the paper's do.
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    rows = np.bincount(place, minlength=BINS)
    there = rows > 0
    sums = (np.bincount(place, weights=values, minlength=BINS)[there] for values in (confidence, right.astype(float)))
    means = [total / rows[there] for total in sums]
    return Reliability(means[0], means[1], rows[there])


def calibration(judged: Judged, target: str, temperature: float | None = None) -> dict[str, float | dict[str, float]]:
    """`ece`, `nll` (nats), and `uncalibrated` with the same without the temperature; empty if no row can be judged."""
    probabilities, labels = judged.probabilities(target)
    if not len(labels):
        return {}
    found: dict[str, float | dict[str, float]] = {**_errors(probabilities, labels)}
    if temperature is not None:
        found["uncalibrated"] = _errors(untempered(probabilities, temperature), labels)
    return found


def _errors(probabilities: Floats, labels: Floats) -> dict[str, float]:
    return {"ece": reliability(probabilities, labels).error, "nll": log_loss(probabilities, labels)}
