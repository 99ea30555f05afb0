"""Tables that a dataset adds to its sources, joined by path: labels that a source lacks, and known wrong rows.

Both are CSV or Parquet with the column `path`, a row's key: <prefix>/<path in the source>. They are the project's own
work, not a download: a value in them that is not allowed stops at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from faceline.datasets.sources.columns import read_columns
from faceline.datasets.sources.source import Labels, subject_code
from faceline.datasets.sources.values import parse_age, parse_gender, parse_race
from faceline.datasets.tables import OVERRIDES
from faceline.errors import SourceError

LABELS = ("age", "gender", "race")
ACTIONS = ("reject", "set")

_PARSERS: dict[str, Callable[[str | None], int | None]] = {
    "age": parse_age,
    "gender": parse_gender,
    "race": parse_race,
}


@dataclass(frozen=True)
class ExtraLabels:
    """Labels that fill in what a source leaves open; they never replace what it says (overrides do)."""

    fields: frozenset[str]
    rows: dict[str, int]  # by path
    columns: dict[str, pa.Array]

    def fill(self, path: str, labels: Labels) -> Labels:
        """`labels` with what this table knows of `path` where they are None."""
        row = self.rows.get(path)
        if row is None:
            return labels
        known = {name: column[row].as_py() for name, column in self.columns.items()}
        return replace(labels, **{name: value for name, value in known.items() if getattr(labels, name) is None})


NOTHING_ADDED = ExtraLabels(frozenset(), {}, {})


def read_extra_labels(file: Path, salt: str) -> ExtraLabels:
    """Read a table of extra labels: path, and age, gender, race or subject (any of them).

    A subject gets the code that a manifest of the path's prefix gives it: whichever of the two names a person, all of
    the person's pictures stay together.

    Raises:
        SourceError: not such a table, a value that is not allowed, or a path that stands twice.
    """
    table = read_columns(file, ("path",), (*LABELS, "subject"))
    rows = _by_path(file, table)
    columns = {name: _parsed(file, name, table.column(name)) for name in LABELS if name in table.column_names}
    if "subject" in table.column_names:
        people = zip(rows, table.column("subject").to_pylist(), strict=True)
        codes = [subject_code(salt, path.partition("/")[0], person) if person else None for path, person in people]
        columns["subject"] = pa.array(codes, type=pa.string())
    return ExtraLabels(frozenset(columns), rows, columns)


def read_overrides(file: Path) -> pa.Table:
    """Read a table of overrides: path, action (reject or set), the labels to set, and a note; as tables.OVERRIDES.

    Raises:
        SourceError: not such a table, a value that is not allowed, nothing to set, or a path that stands twice.
    """
    table = read_columns(file, ("path", "action"), (*LABELS, "note"))
    _by_path(file, table)
    columns: dict[str, pa.Array] = {}
    for field in OVERRIDES:
        if field.name not in table.column_names:
            columns[field.name] = pa.nulls(len(table), field.type)
        elif field.name in LABELS:
            columns[field.name] = _parsed(file, field.name, table.column(field.name))
        else:
            columns[field.name] = table.column(field.name)
    overrides = pa.table(columns, schema=OVERRIDES)
    for number, row in enumerate(overrides.to_pylist(), start=1):
        if row["action"] not in ACTIONS:
            raise _wrong(file, number, f"action {row['action']!r}; allowed: {', '.join(ACTIONS)}")
        if row["action"] == "set" and all(row[name] is None for name in LABELS):
            raise _wrong(file, number, f"nothing to set; give one of {', '.join(LABELS)}")
    return overrides


def _parsed(file: Path, name: str, values: Any) -> pa.Array:
    """A column of label texts in the project's codes."""
    codes = []
    for number, value in enumerate(values.to_pylist(), start=1):
        try:
            codes.append(_PARSERS[name](value))
        except ValueError as error:
            raise _wrong(file, number, f"{name} {error}") from None
    return pa.array(codes, type=OVERRIDES.field(name).type)


def _by_path(file: Path, table: pa.Table) -> dict[str, int]:
    """The row of each path; every row must have one of its own."""
    rows: dict[str, int] = {}
    for row, path in enumerate(table.column("path").to_pylist()):
        if not path:
            raise _wrong(file, row + 1, "no path")
        if path in rows:
            raise _wrong(file, row + 1, f"path {path!r} stands in row {rows[path] + 1} already")
        rows[path] = row
    return rows


def _wrong(file: Path, number: int, what: str) -> SourceError:
    return SourceError(f"{file}, row {number}: {what}")
