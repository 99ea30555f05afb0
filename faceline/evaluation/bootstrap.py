"""How sure a mean over rows is: the percentile interval of the bootstrap that draws groups of rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from faceline.errors import SettingsError
from faceline.evaluation.judged import Floats

MOST_SAMPLES = 1_000_000
CELLS = 2**20  # groups drawn at once: memory grows neither with samples nor with groups up to this many


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn; SettingsError says which value is not allowed."""

    samples: int  # how often the groups are drawn anew
    seed: int
    level: float  # the share of experiments whose interval holds the true value

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise SettingsError(f"samples must be from 1 to {MOST_SAMPLES}, not {self.samples}")
        if self.seed < 0:
            raise SettingsError(f"seed must be 0 or more, not {self.seed}")
        if not 0 < self.level < 1:
            raise SettingsError(f"level must lie between 0 and 1, not be {self.level}")

    def interval(self, values: Floats, groups: NDArray[np.int64]) -> tuple[float, float]:
        """The percentile interval of the mean of `values`, shape (N,), N > 0, in groups with such numbers, (N,).

        Rows of a group are not independent (one person's pictures are hard or easy together), so whole groups are
        drawn with replacement, as many as there are, `samples` times; the bounds are the quantiles of the means of
        their rows that leave (1 - level) / 2 outside on either side. Where each row is a group it is the plain
        bootstrap. Of the differences of pairs it is the paired interval: the same rows are drawn for both.

        Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3; for groups
        A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.
        """
        places = np.unique(groups, return_inverse=True)[1]
        sums, rows = np.bincount(places, weights=values), np.bincount(places)
        count, generator = len(rows), np.random.default_rng(self.seed)
        at_once = max(1, CELLS // count)
        means = []
        for done in range(0, self.samples, at_once):
            drawn = generator.integers(count, size=(min(at_once, self.samples - done), count))
            means.append(sums[drawn].sum(axis=1) / rows[drawn].sum(axis=1))
        tail = (1 - self.level) / 2
        low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
        return float(low), float(high)

    def share(self, right: Floats, groups: NDArray[np.int64]) -> tuple[float, float]:
        """The interval of the share of `right`, 0 or 1 in each row, (N,), in groups as above.

        Where all rows are alike every draw is, too, and shows nothing: it is the exact interval of as many groups then,
        of C. J. Clopper and E. S. Pearson, The Use of Confidence or Fiducial Limits, Biometrika 26, 1934.
        """
        if right.min() < right.max():
            return self.interval(right, groups)
        count = len(np.unique(groups))
        exact = binomtest(count if right[0] else 0, count).proportion_ci(self.level, method="exact")
        return float(exact.low), float(exact.high)
