"""The predictions table as arrays: what metrics, slices, plots and figures are computed from.

A label that the data lacks and an answer that the bundle lacks are NaN; `pair` gives the rows that have both.
"""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceline.datasets.labels import RACES, Gender
from faceline.probabilities import binary

Floats = NDArray[np.float64]
NUMBERS = ("age", "gender", "race", "age_predicted", "age_low", "age_high", "female_probability")  # taken as they are
THRESHOLD = 0.5  # a picture is answered "female" from this probability on


@dataclass(frozen=True)
class Judged:
    """Labels and answers side by side; arrays have shape (N,) but where they say so; codes are those of `labels`."""

    image_id: NDArray[np.object_]
    group: NDArray[np.int64]  # the same number in all rows of a group; one of its own where there is no group
    age: Floats  # years, as labelled
    gender: Floats
    race: Floats
    age_predicted: Floats  # years
    age_low: Floats
    age_high: Floats
    female_probability: Floats
    race_probabilities: Floats  # (N, 5), by code

    @classmethod
    def of(cls, predictions: pa.Table) -> "Judged":
        """The arrays of a table with schema PREDICTIONS."""
        return cls(
            image_id=np.asarray(predictions.column("image_id").to_pylist(), dtype=object),
            group=_first_rows(predictions.column("group")),
            race_probabilities=_by_code(predictions.column("race_probabilities")),
            **{name: _floats(predictions.column(name)) for name in NUMBERS},
        )

    @property
    def gender_predicted(self) -> Floats:
        """The code of the more probable gender; NaN where there is no answer."""
        return np.where(np.isnan(self.female_probability), np.nan, answered(binary(self.female_probability)))

    @property
    def race_predicted(self) -> Floats:
        """The code of the most probable race; NaN where there is no answer."""
        return np.where(np.isnan(self.race_probabilities[:, 0]), np.nan, answered(self.race_probabilities))

    def confidence(self, target: str) -> Floats:
        """The probability that the bundle gave to its own answer; `target` is gender or race."""
        return np.asarray(self._by_code(target).max(axis=1))

    def probabilities(self, target: str) -> tuple[Floats, Floats]:
        """Probabilities by code (n, codes) and labels (n,) on the rows that have both; `target` is gender or race.

        A label that is none of the codes counts as unknown: the gate of the table names it.
        """
        label, answer = getattr(self, target), self._by_code(target)
        known = (label >= 0) & (label < answer.shape[1]) & ~np.isnan(answer).any(axis=1)
        return answer[known], label[known]

    def known(self, target: str) -> NDArray[np.bool_]:
        """The rows that have both a label and an answer of `target` (age, gender or race), shape (N,)."""
        label, answer = getattr(self, target), getattr(self, f"{target}_predicted")
        return np.asarray(~np.isnan(label) & ~np.isnan(answer))

    def pair(self, target: str) -> tuple[Floats, Floats]:
        """Labels and answers of `target` on its known rows."""
        label, answer, known = getattr(self, target), getattr(self, f"{target}_predicted"), self.known(target)
        return label[known], answer[known]

    def where(self, rows: NDArray[np.bool_]) -> "Judged":
        """The rows of a mask of shape (N,)."""
        return Judged(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def _by_code(self, target: str) -> Floats:
        return binary(self.female_probability) if target == "gender" else self.race_probabilities


def answered(probabilities: Floats) -> NDArray[np.int64]:
    """The codes (N,) that stand for probabilities by code (N, codes): of two the second from THRESHOLD on."""
    if probabilities.shape[1] == len(Gender):
        return (probabilities[:, Gender.FEMALE] >= THRESHOLD).astype(np.int64)
    return np.asarray(probabilities.argmax(axis=1))


def _first_rows(groups: pa.ChunkedArray) -> NDArray[np.int64]:
    """For each row the first row of its group, itself where it has none; so rows without company stay in order."""
    first: dict[str, int] = {}
    rows = (row if group is None else first.setdefault(group, row) for row, group in enumerate(groups.to_pylist()))
    return np.fromiter(rows, np.int64, len(groups))


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _by_code(column: pa.ChunkedArray) -> Floats:
    table = np.full((len(column), len(RACES)), np.nan)
    rows: list[list[float]] = column.drop_null().to_pylist()
    if rows:
        table[np.asarray(pc.is_valid(column).to_numpy(zero_copy_only=False), dtype=bool)] = rows
    return table
