"""The table of profiles: a CSV with a header, a picture a row, and the age or the gender that its profile states.

It is checked from end to end before any picture is looked at, and streamed again afterwards; no more than a row of it
is held. What is wrong with the table as a whole stops at once; what is wrong with one statement is that row's verdict.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self

from faceline.datasets.labels import GENDERS, OLDEST
from faceline.errors import SourceError
from faceline.files import sha256_file

PICTURE, STATED = "picture", ("age", "gender")
ADVICE = "allowed: a CSV in UTF-8 with a header that names picture and age or gender or both, and any further columns"
LONGEST = 2**20  # bytes of a line, and characters of a row; what ends nowhere must not fill the memory
SHOWN = 12  # names of a header that an error lists

_AGE = re.compile(r"(\d{1,3})(\.\d*)?", re.ASCII)
_GENDERS = {**{name: code for code, name in enumerate(GENDERS)}, **{name[0]: code for code, name in enumerate(GENDERS)}}


@dataclass(frozen=True, slots=True)
class Profile:
    """A row of the table.

    Attributes:
        row: its number, from 1 below the header.
        values: all its fields, as they stand in the file.
        picture: the path of its picture.
        age: as stated, whole years; None where nothing is stated.
        gender: as stated, a code.
        fault: what is wrong with the statement, if anything.
    """

    row: int
    values: tuple[str, ...]
    picture: str
    age: int | None
    gender: int | None
    fault: str | None = None


@dataclass(frozen=True)
class Profiles:
    """A table that has been found good: its columns, how many rows it has, and the SHA-256 of its bytes."""

    path: Path
    names: tuple[str, ...]
    rows: int
    sha256: str

    @classmethod
    def of(cls, path: Path, reserved: frozenset[str]) -> Self:
        """Read the table once from end to end.

        Args:
            path: the CSV.
            reserved: names that no column may have.

        Raises:
            SourceError: it cannot be read, or is no such table; one line says where and what is allowed.
        """
        try:
            sha256 = sha256_file(path)
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror}; {ADVICE}") from None
        records = _records(path)
        names = tuple(next(records, ()))
        _require_header(path, names, reserved)
        rows = sum(1 for _ in records)
        if not rows:
            raise SourceError(f"{path} has no row below its header; {ADVICE}")
        return cls(path, names, rows, sha256)

    @property
    def stated(self) -> tuple[str, ...]:
        """Which of age and gender the table has."""
        return tuple(name for name in STATED if name in self.names)

    def __iter__(self) -> Iterator[Profile]:
        """The rows in order."""
        records = _records(self.path)
        next(records)
        return (self._profile(number, tuple(values)) for number, values in enumerate(records, start=1))

    def _profile(self, row: int, values: tuple[str, ...]) -> Profile:
        named = dict(zip(self.names, values, strict=True))
        try:
            age, gender = _age(named.get("age", "")), _gender(named.get("gender", ""))
            fault = "nothing is stated" if age is None and gender is None else None
        except ValueError as error:
            age, gender, fault = None, None, str(error)
        return Profile(row, values, named[PICTURE], age, gender, fault)


def _require_header(path: Path, names: tuple[str, ...], reserved: frozenset[str]) -> None:
    if not names:
        raise SourceError(f"{path} is empty; {ADVICE}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SourceError(f"{path} has more than one column {_listed(twice)}; allowed: each name once")
    if PICTURE not in names or not set(STATED) & set(names):
        raise SourceError(
            f"{path} has no column picture, or neither age nor gender; its first line has {_listed(names)}; {ADVICE}"
        )
    taken = sorted(reserved & set(names))
    if taken:
        raise SourceError(f"{path} has a column {_listed(taken)}, which the audit adds itself; give it another name")


def _records(path: Path) -> Iterator[list[str]]:
    """The header and the rows; SourceError for a line that cannot be read, or a row with too many or few fields."""
    held = 0  # characters since the last record

    def counted(lines: Iterator[str]) -> Iterator[str]:
        nonlocal held
        for line in lines:
            held += len(line)
            if held > LONGEST:
                found = f"a row does not end within {LONGEST} characters; is a quote missing?"
                raise SourceError(f"{path}: line {reader.line_num}: {found}; {ADVICE}")
            yield line

    with path.open("rb") as file:
        reader = csv.reader(counted(_lines(path, file)), strict=True)
        width = 0
        try:
            for record in reader:
                held = 0
                if not record:
                    continue  # an empty line is no row
                width = width or len(record)
                if len(record) != width:
                    found = f"{len(record)} fields, the header {width}"
                    raise SourceError(f"{path}: line {reader.line_num} has {found}; allowed: as many as the header has")
                yield record
        except csv.Error as error:
            raise SourceError(f"{path}: line {reader.line_num} is no line of a CSV: {error}; {ADVICE}") from None


def _lines(path: Path, file: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(iter(partial(file.readline, LONGEST + 1), b""), start=1):
        if len(line) > LONGEST:
            raise SourceError(f"{path}: line {number} is too long; allowed: {LONGEST} bytes; {ADVICE}")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise SourceError(f"{path}: line {number} is not UTF-8: {error.reason}; {ADVICE}") from None


def _age(text: str) -> int | None:
    """Whole years, a fraction cut off as ages are told; None for an empty field, ValueError for what is no age."""
    text = text.strip()
    if not text:
        return None
    match = _AGE.fullmatch(text)
    if match is None or int(match[1]) > OLDEST:
        raise ValueError(f"age {text[:SHOWN]!r}; allowed: years from 0 to {OLDEST}")
    return int(match[1])


def _gender(text: str) -> int | None:
    """The code; None for an empty field, ValueError for anything else than male, female, m and f."""
    text = text.strip()
    if not text:
        return None
    if text.lower() not in _GENDERS:
        raise ValueError(f"gender {text[:SHOWN]!r}; allowed: {', '.join(sorted(_GENDERS))}")
    return _GENDERS[text.lower()]


def _listed(names: Sequence[str]) -> str:
    """Names for one line, hostile ones made harmless; not all of very many."""
    shown = ", ".join(repr(name[: 2 * SHOWN]) for name in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
