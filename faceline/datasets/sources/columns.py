"""Reading some columns of a CSV or Parquet table as text, whatever their types."""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from faceline.errors import SourceError

LONGEST_HEADER = 2**16  # characters; of the first line of a CSV


def read_columns(path: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> pa.Table:
    """The `required` columns of a table and those of the `optional` that it has, as strings; nothing else is read.

    Raises:
        SourceError: the file is not such a table, or lacks a required column; the message names it.
    """
    wanted = wanted_columns(path, required, optional)
    with damage_named(path):
        if _is_parquet(path):
            table = pq.ParquetFile(path).read(columns=wanted)
        else:
            table = pc.read_csv(path, convert_options=as_text(wanted))
        return pa.table({name: table.column(name).cast(pa.string()).combine_chunks() for name in wanted})


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn what the libraries raise on a table that they cannot read into a SourceError that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError, csv.Error) as error:
        # Arrow quotes a row of the wrong length after the counts; names of people in it must not reach a log.
        what = re.sub(r"(Expected \d+ columns, got \d+):.*", r"\1", " ".join(str(error).split()))
        raise SourceError(f"{path} cannot be read as a table: {what}") from None


def column_names(path: Path) -> list[str]:
    """The names of a table's columns, in order.

    Raises:
        SourceError: the file cannot be read as a table.
    """
    with damage_named(path):
        if _is_parquet(path):
            return list(pq.ParquetFile(path).schema_arrow.names)
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader([file.readline(LONGEST_HEADER)]), [])


def wanted_columns(path: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> list[str]:
    """Which columns of a table are to be read.

    Raises:
        SourceError: a required one is missing; the message lists what there is.
    """
    names = column_names(path)
    missing = [name for name in required if name not in names]
    if missing:
        raise SourceError(f"{path} has no column {', '.join(missing)}; it has: {', '.join(names)}")
    return [*required, *(name for name in optional if name in names)]


def as_text(columns: list[str]) -> pc.ConvertOptions:
    """Convert nothing: the given columns as text, an empty field as null."""
    types = dict.fromkeys(columns, pa.string())
    return pc.ConvertOptions(
        column_types=types,
        include_columns=columns,
        strings_can_be_null=True,
        null_values=[""],
        quoted_strings_can_be_null=True,
    )


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"
