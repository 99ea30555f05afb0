"""The frames that several gates judge: the shape of a table, the conservation of rows, counts, facts and labels."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from faceline.datasets.labels import OLDEST, Gender, Race
from faceline.files import read_json
from faceline.gates.expectations import (
    Expectation,
    Judged,
    between,
    columns,
    equal,
    known,
    matches,
    mean,
    one_of,
    rows,
    unique,
)
from faceline.gates.limits import LabelLimits, code

SHA256 = "^[0-9a-f]{64}$"
REASON = "^[a-z][a-z0-9_]*$"
ABSENT = "absent"
SIGNATURE = b"\x89PNG\r\n\x1a\n"  # PNG specification (W3C, third edition), 5.2
SIDES = slice(16, 24)  # width and height in the header chunk, which comes first: 11.2.1


def parts(path: Path) -> list[Path]:
    """The Parquet files of a table: itself, or those in its folder."""
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


def read_frame(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """Columns of a Parquet file, or of all parts in a folder; a null integer makes its column floats."""
    tables = [pq.ParquetFile(part).read(columns=list(names)) for part in parts(path)]
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def read_labels(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """Columns of labels.parquet or kept.parquet; perceptual hashes as text, thumbnails as their SHA-256.

    One null would make floats of the hashes, which hold 53 of their 64 bits. What is unexpected stands in a gate's
    report, and that lies in git, where no thumbnail may.
    """
    table = pq.ParquetFile(path).read(columns=list(names))
    texts = table.set_column(table.schema.get_field_index("phash"), "phash", table["phash"].cast(pa.string()))
    frame: pd.DataFrame = texts.to_pandas()
    frame["thumbnail"] = [None if data is None else hashlib.sha256(data).hexdigest() for data in frame["thumbnail"]]
    return frame


def spread(path: Path, most: int) -> frozenset[int]:
    """The places of at most `most` rows of a table, evenly spaced: what is judged of it where all would take long."""
    count = sum(pq.read_metadata(part).num_rows for part in parts(path))
    return frozenset(np.linspace(0, count - 1, min(count, most), dtype=int).tolist())


def png_sides(data: bytes | None) -> tuple[int, int]:
    """Width and height by the header of a PNG, in pixels; 0 where it is none. Nothing is decoded."""
    if not data or not data.startswith(SIGNATURE):
        return 0, 0
    width, height = np.frombuffer(data[SIDES].ljust(8, b"\0"), ">u4")
    return int(width), int(height)


def read_summary(folder: Path) -> dict[str, Any]:
    """The stage's summary.json; empty where there is none, so that what is expected of it fails."""
    try:
        summary = read_json(folder / "summary.json")
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return summary if isinstance(summary, dict) else {}


def shape(path: Path, schema: pa.Schema) -> Iterator[Judged]:
    """Every column by name, order and type, in each part; where this fails, nothing more can be read and judged."""
    there = {part: _schema(part) for part in parts(path)} or {path: pa.schema([])}
    odd = next((found for found in there.values() if found.names != schema.names), next(iter(there.values())))
    names = [
        columns(schema.names, why="who reads the table selects columns by name, and writers keep the schema's order")
    ]
    name = f"{path.parent.name}/{path.name}"
    yield Judged(f"{name}, columns", _empty(odd), None, names, essential=True)
    types = [
        {
            "column": f"{part.name}: {column}",
            "type": _type(found, column, schema),
            "declared": _type(schema, column, schema),
        }
        for part, found in there.items()
        for column in dict.fromkeys([*schema.names, *found.names])
    ]
    same = [equal("type", "declared", why="the types are those that faceline/datasets/tables.py declares")]
    yield Judged(f"{name}, types", pd.DataFrame(types), "column", same, essential=True)


def rejected(path: Path, key: str) -> Judged:
    """Every rejected row says which it is and has exactly one machine-readable reason; there may be none."""
    frame = read_frame(path, ["path", "image_id", "reason"])
    expectations = [
        rows(0, why="a stage may keep everything"),
        known(key, why="a rejected row can be found again"),
        known("reason", why="nothing is lost without a reason"),
        matches("reason", REASON, why="a reason is one code, which is counted"),
    ]
    return Judged(path.name, frame, key, expectations)


def conserved(key: str, before: "pd.Series[str]", kept: "pd.Series[str]", dropped: "pd.Series[str]") -> Judged:
    """Each key of `before` stands exactly once in kept and rejected taken together, and no other key does."""
    times = {"before": before, "kept": kept, "rejected": dropped}
    counts = {name: keys.dropna().value_counts() for name, keys in times.items()}
    frame = pd.DataFrame(counts).fillna(0).astype(int).sort_index().rename_axis(key).reset_index()
    frame["after"] = frame["kept"] + frame["rejected"]
    expectations = [
        rows(1, why="something went in"),
        one_of("before", [1], why="only rows of the table before can be kept or rejected"),
        one_of("after", [1], why="rows in = kept + rejected: none is lost, none is doubled"),
    ]
    return Judged(f"{key} before and after", frame, key, expectations)


def counted(summary: dict[str, Any], rows_in: int, kept: int, reasons: Iterable[str]) -> Judged:
    """The stage's summary says what its tables hold; the report shows the summary."""
    held = {"rows_in": rows_in, "kept": kept}
    held |= {f"rejected.{reason}": int(count) for reason, count in pd.Series(reasons, dtype=str).value_counts().items()}
    said = {name: summary.get(name) for name in ("rows_in", "kept")}
    said |= {f"rejected.{reason}": count for reason, count in summary.get("rejected", {}).items()}
    names = sorted(held | said)
    frame = pd.DataFrame({"count": names, "said": pd.Series([said.get(name) for name in names], dtype=float)})
    frame["held"] = pd.Series([held.get(name) for name in names], dtype=float)
    same = [equal("said", "held", why="summary.json is what the report shows, and has to be true")]
    return Judged("summary.json", frame, "count", same)


def facts(
    name: str, values: Mapping[str, float], expectations: Sequence[Expectation], skipped: tuple[str, ...] = ()
) -> Judged:
    """A frame of one row, with a column for each number; its observed values stand in the report, met or not."""
    return Judged(name, pd.DataFrame([dict(values)]), None, expectations, skipped=skipped)


def share(part: int, whole: int) -> float:
    """part / whole; 0 where there is nothing."""
    return part / whole if whole else 0.0


def codes() -> list[Expectation]:
    """Labels are the project's codes; unknown ones are null."""
    return [
        one_of("gender", [gender.value for gender in Gender], why="the codes of faceline/datasets/labels.py"),
        one_of("race", [race.value for race in Race], why="the codes of faceline/datasets/labels.py"),
    ]


def identified(column: str = "image_id") -> list[Expectation]:
    """`column` names pictures by their SHA-256, each once."""
    return [
        known(column, why="a row without a picture is of no use"),
        matches(column, SHA256, why="a picture is named by the SHA-256 of its bytes"),
        unique(column, why="from clean on a picture has one row"),
    ]


def distribution(name: str, key: str, frame: pd.DataFrame, limits: LabelLimits) -> Iterator[Judged]:
    """The labels of a table as a whole: how many are known, the share of each, the mean of the possible ages."""
    least = [known(target, part, why="who trains on it needs this label") for target, part in limits.known.items()]
    yield Judged(f"{name}, labels", frame, key, least)
    values: dict[str, float] = {}
    expected: list[Expectation] = []
    for label, bounds in limits.shares.items():
        column, value = code(label)
        values[label] = share(int((frame[column] == value).sum()), int(frame[column].notna().sum()))
        expected.append(
            between(label, bounds.minimum, bounds.maximum, why="shifted labels are a broken reader or rule")
        )
    yield facts(f"{name}, shares of labels", values, expected)
    if limits.age_mean:
        possible = frame[frame["age"].between(0, OLDEST)]
        bounds = limits.age_mean
        shifted = mean("age", bounds.minimum, bounds.maximum, why="shifted ages are a broken reader or rule")
        yield Judged(f"{name}, ages from 0 to {OLDEST}", possible, key, [shifted])


def _schema(part: Path) -> pa.Schema:
    try:
        return pq.read_schema(part)
    except (OSError, pa.ArrowInvalid):
        return pa.schema([])  # missing or damaged: it has no columns, and the expectations say which it should have


def _type(found: pa.Schema, name: str, declared: pa.Schema) -> str:
    """The type in words: the declared one's where they are equal, as Parquet renames the values of a list."""
    if name not in found.names:
        return ABSENT
    same = name in declared.names and found.field(name).type.equals(declared.field(name).type)
    return str((declared if same else found).field(name).type)


def _empty(schema: pa.Schema) -> pd.DataFrame:
    return pd.DataFrame(columns=schema.names)
