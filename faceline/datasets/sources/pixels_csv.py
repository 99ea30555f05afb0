"""A CSV of square grey pictures given as text: age, ethnicity, gender, img_name, pixels (0 to 255, space between).

Each picture is encoded as a lossless PNG, so that everything downstream knows one kind of picture. The first row with
a square number of pixels settles the size; a row with another number, or with a value that is no grey level, is
rejected as `malformed_pixels`. A name that stands again is a `duplicate_path`, even if the labels differ: each row's
labels stand beside its own picture, so the first is no guess.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.csv as pc

from faceline.datasets.sources.archive import fits_on_a_line
from faceline.datasets.sources.columns import as_text, damage_named, wanted_columns
from faceline.datasets.sources.source import Item, Labels, Reading, Rejection, Sample, SourceSettings, raw_file
from faceline.datasets.sources.values import parse_age, parse_gender, parse_race
from faceline.faces.decoding import encode_png

ADVICE = "It is a CSV with the columns age, ethnicity, gender, img_name and pixels."
FIELDS = frozenset({"age", "gender", "race"})
COLUMNS = ("img_name", "age", "ethnicity", "gender", "pixels")
BLOCK = 2**22  # bytes read at a time; the longest row that is allowed


def read(source: SourceSettings, folder: Path, salt: str) -> Reading:
    """Open a CSV of pixels; it has no subjects, so `salt` is not used.

    Raises:
        SourceError: the file is missing, or lacks a column.
    """
    file = raw_file(folder, source.file, ADVICE)
    columns = wanted_columns(file, COLUMNS, ())
    return Reading(FIELDS, _Rows(source.prefix).items(file, columns))


@dataclass
class _Rows:
    """Turns rows to items; remembers the names and the size seen so far."""

    prefix: str
    side: int = 0  # pixels; 0: not settled yet
    seen: set[str] = field(default_factory=set)
    broken: list[Rejection] = field(default_factory=list)  # rows of the block at hand with too few or many fields
    broken_total: int = 0

    def items(self, file: Path, columns: list[str]) -> Iterator[Item]:
        """The items of all rows in order, but rows with too few or many fields after the block that they stand in."""
        options = pc.ReadOptions(block_size=BLOCK, use_threads=False)
        parsing = pc.ParseOptions(newlines_in_values=False, invalid_row_handler=self._skip)
        with damage_named(file), pc.open_csv(file, options, parsing, as_text(columns)) as reader:
            for batch in reader:
                for number in range(batch.num_rows):
                    yield self._item({name: batch.column(name)[number].as_py() for name in columns})
                yield from self._broken()
        yield from self._broken()

    def _skip(self, row: pc.InvalidRow) -> str:
        self.broken_total += 1
        detail = f"{row.actual_columns} fields, not {row.expected_columns}"
        self.broken.append(Rejection(f"{self.prefix}/#malformed-{self.broken_total}", "malformed_row", detail))
        return "skip"

    def _broken(self) -> Iterator[Item]:
        yield from self.broken
        self.broken.clear()

    def _item(self, row: dict[str, str | None]) -> Item:
        name = row["img_name"] or ""
        path = f"{self.prefix}/{name}"
        if not name or not fits_on_a_line(name):
            return Rejection(f"{self.prefix}/{name!r}", "malformed_name", "img_name is empty or unprintable")
        if path in self.seen:
            return Rejection(path, "duplicate_path", "an earlier row has the same img_name")
        self.seen.add(path)
        try:
            labels = Labels(parse_age(row["age"]), parse_gender(row["gender"]), parse_race(row["ethnicity"]))
        except ValueError as error:
            return Rejection(path, "malformed_label", str(error))
        try:
            return Sample(path, encode_png(self._pixels(row["pixels"] or "")), labels)
        except (ValueError, OverflowError) as error:
            return Rejection(path, "malformed_pixels", str(error))

    def _pixels(self, text: str) -> npt.NDArray[np.uint8]:
        """The grey levels in `text`, uint8 (side, side); ValueError or OverflowError says what is wrong with them."""
        values = text.split()
        if not self.side and isqrt(len(values)) ** 2 == len(values):
            self.side = isqrt(len(values))
        if not self.side or len(values) != self.side**2:
            allowed = f"{self.side}x{self.side}, as in the first row" if self.side else "a square"
            raise ValueError(f"{len(values)} pixels; allowed: {allowed}")
        levels = np.array(values, dtype=np.int64)
        if levels.min() < 0 or levels.max() > 255:
            raise ValueError(f"grey levels from {levels.min()} to {levels.max()}; allowed: 0 to 255")
        return levels.astype(np.uint8).reshape(self.side, self.side)
