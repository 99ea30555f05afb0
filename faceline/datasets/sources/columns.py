"""Reading some columns of a CSV or Parquet table as text, whatever their types."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from faceline.errors import SourceError


def read_columns(path: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> pa.Table:
    """The `required` columns of a table and those of the `optional` that it has, as strings; nothing else is read.

    Raises:
        SourceError: the file is not such a table, or lacks a required column; the message names it.
    """
    try:
        names = column_names(path)
        wanted = wanted_columns(path, names, required, optional)
        if _is_parquet(path):
            table = pq.ParquetFile(path).read(columns=wanted)
        else:
            table = pc.read_csv(path, convert_options=as_text(wanted))
        return pa.table({name: table.column(name).cast(pa.string()).combine_chunks() for name in wanted})
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read as a table: {' '.join(str(error).split())}") from None


def column_names(path: Path) -> list[str]:
    """The names of a table's columns."""
    if _is_parquet(path):
        return list(pq.ParquetFile(path).schema_arrow.names)
    with pc.open_csv(path, convert_options=pc.ConvertOptions(check_utf8=False)) as reader:
        return list(reader.schema.names)


def wanted_columns(path: Path, names: list[str], required: tuple[str, ...], optional: tuple[str, ...]) -> list[str]:
    """Those of `names` that are to be read; SourceError where a required one is missing."""
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
