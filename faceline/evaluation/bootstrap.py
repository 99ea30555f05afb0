"""How sure a mean over rows is: the percentile interval of the bootstrap."""

from dataclasses import dataclass

import numpy as np

from faceline.errors import SettingsError
from faceline.evaluation.judged import Floats

FEWEST = 30  # rows; below this a percentile interval is too narrow (of one row, a point) to show anything
MOST_SAMPLES = 1_000_000
CELLS = 2**20  # row numbers drawn at once: memory grows neither with samples nor with rows up to this many


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn; SettingsError says which value is not allowed."""

    samples: int  # how often the rows are drawn anew
    seed: int
    level: float  # the share of experiments whose interval holds the true value

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise SettingsError(f"samples must be from 1 to {MOST_SAMPLES}, not {self.samples}")
        if self.seed < 0:
            raise SettingsError(f"seed must be 0 or more, not {self.seed}")
        if not 0 < self.level < 1:
            raise SettingsError(f"level must lie between 0 and 1, not be {self.level}")

    def interval(self, values: Floats) -> tuple[float, float]:
        """The percentile interval of the mean of `values`, shape (N,), N > 0.

        Rows are drawn with replacement, N at a time, `samples` times; the bounds are the quantiles of their means
        that leave (1 - level) / 2 outside on either side. Of the differences of pairs it is the paired interval: the
        same rows are drawn for both.

        Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
        """
        rows, generator = len(values), np.random.default_rng(self.seed)
        at_once = max(1, CELLS // rows)
        means = [
            values[generator.integers(rows, size=(min(at_once, self.samples - done), rows))].mean(axis=1)
            for done in range(0, self.samples, at_once)
        ]
        tail = (1 - self.level) / 2
        low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
        return float(low), float(high)
