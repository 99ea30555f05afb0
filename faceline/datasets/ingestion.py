"""Ingest: from the sources of a dataset to one table of labels and the original bytes of every picture.

The sources are streamed one after the other. Pictures are held by the part, labels by a block of rows: all that grows
with the number of rows is which paths and pictures were seen. The order of every table is the sources' order.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from faceline.datasets.sources import imdb_wiki, manifest, pixels_csv, utkface
from faceline.datasets.sources.extras import NOTHING_ADDED, ExtraLabels, read_extra_labels, read_overrides
from faceline.datasets.sources.measuring import Measured, Measurer
from faceline.datasets.sources.source import (
    LABEL_FIELDS,
    RawFile,
    Reader,
    Reading,
    Rejection,
    SourceSettings,
    raw_file,
)
from faceline.datasets.summary import summarize
from faceline.datasets.tables import IMAGES, LABELS, OVERRIDES, REJECTED
from faceline.faces.decoding import PIXELS_LIMIT
from faceline.files import read_table, write_json, write_table
from faceline.params import Settings

READERS: dict[str, Reader] = {
    "imdb_wiki": imdb_wiki,
    "utkface": utkface,
    "pixels_csv": pixels_csv,
    "manifest": manifest,
}
ADVICE = "The dataset's settings name it."
PART_ROWS = 500  # pictures; a part of the images, one worker's task later on, holds no more than this,
PART_BYTES = 2**25  # and no picture is added to one that holds this much
KEPT = "kept"
BLOCK_ROWS = 8_192  # rows of a table held before they are written; fixed, because it shapes the table's bytes


class IngestSettings(Settings):
    """What a dataset is made of, and which pictures can be used at all."""

    sources: tuple[SourceSettings, ...] = Field(min_length=1)
    extra_labels: RawFile | None = None  # a table joined by path: labels that the sources lack
    overrides: RawFile | None = None  # a table joined by path: known wrong rows
    max_pixels: int = Field(gt=0, le=PIXELS_LIMIT)
    min_side: int = Field(gt=0)  # pixels
    salt: str = Field(min_length=1)  # of the hashes that stand for subjects
    licence: str = Field(min_length=1)  # what the data may be used for

    @field_validator("sources")
    @classmethod
    def _prefixes_differ(cls, sources: tuple[SourceSettings, ...]) -> tuple[SourceSettings, ...]:
        if len({source.prefix for source in sources}) < len(sources):
            raise ValueError("each source must have a prefix of its own")
        return sources


def require_raw(folder: Path, settings: IngestSettings) -> None:
    """Return if every file that the settings name lies in `folder`, data/raw/<dataset>; nothing is opened.

    Raises:
        SourceError: one is not there; the message says where to put it and where to get it.
    """
    for source in settings.sources:
        for name in source.files:
            raw_file(folder, name, READERS[source.reader].ADVICE)
    for name in filter(None, (settings.extra_labels, settings.overrides)):
        raw_file(folder, name, ADVICE)


def ingest(
    folder: Path,
    settings: IngestSettings,
    output: Path,
    workers: int,
    *,
    tick: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Read the sources that lie in `folder`, write the tables of data/ingest to `output`, and return the summary.

    Args:
        folder: data/raw/<dataset>.
        settings: the dataset's.
        output: an empty folder, for images/part-*.parquet, {labels,rejected,overrides}.parquet and summary.json.
        workers: threads that decode; they change nothing in the output.
        tick: called after each row.
        tell: called with a line for people on each table of the dataset's own that has paths of no row, or labels for
            rows that are rejected.

    Raises:
        SourceError: a source cannot be read; before any picture is, wherever that can be known.
    """
    readings = [READERS[source.reader].read(source, folder, settings.salt) for source in settings.sources]
    extra, overrides = _added(folder, settings)
    write_table(output / "overrides.parquet", overrides, OVERRIDES)
    measurer = Measurer(settings.max_pixels, settings.min_side, workers)
    unknown = {"extra_labels": set(extra.rows), "overrides": set(overrides.column("path").to_pylist())}
    changes = overrides.filter(pc.field("action") == "set")
    unset = {"extra_labels": set(extra.rows), "overrides": set(changes.column("path").to_pylist())}
    sources = []
    with _Tables(output, extra) as tables:
        for source, reading in zip(settings.sources, readings, strict=True):
            reasons: Counter[str] = Counter()
            for row in measurer.measure_all(reading.items):
                reason = tables.write(row)
                reasons[reason] += 1
                for paths in (*unknown.values(), *(unset.values() if reason == KEPT else ())):
                    paths.discard(row.path)
                tick()
            sources.append(_report(source, reading, reasons, extra))
    for table, paths in unknown.items():
        if paths:
            tell(f"{getattr(settings, table)}: paths that no row has: {len(paths)}, as {min(paths)!r}")
        if rejected := unset[table] - paths:
            what = "paths of rows that were rejected, where nothing is set"
            tell(f"{getattr(settings, table)}: {what}: {len(rejected)}, as {min(rejected)!r}")
    summary = summarize(
        sum(source["rows_in"] for source in sources),
        sum(source["kept"] for source in sources),
        read_table(output / "rejected.parquet", columns=["reason"]),
        images=len(tables.seen),
        lacks=sorted(set.intersection(*(set(source["lacks"]) for source in sources))),
        licence=settings.licence,
        sources=sources,
        unknown_paths={table: len(paths) for table, paths in unknown.items()},
    )
    write_json(output / "summary.json", summary)
    return summary


def _added(folder: Path, settings: IngestSettings) -> tuple[ExtraLabels, pa.Table]:
    """The tables that the dataset adds to its sources: extra labels and overrides, empty where there are none."""
    extra, overrides = NOTHING_ADDED, OVERRIDES.empty_table()
    if settings.extra_labels:
        file = raw_file(folder, settings.extra_labels, ADVICE)
        extra = read_extra_labels(file, settings.salt)
    if settings.overrides:
        overrides = read_overrides(raw_file(folder, settings.overrides, ADVICE))
    return extra, overrides


def _report(source: SourceSettings, reading: Reading, reasons: Counter[str], extra: ExtraLabels) -> dict[str, Any]:
    """What the summary says of one source: its rows, the labels that it lacks, and what its reader noticed."""
    return {
        "prefix": source.prefix,
        "reader": source.reader,
        "rows_in": reasons.total(),
        "kept": reasons[KEPT],
        "rejected": {reason: count for reason, count in reasons.items() if reason != KEPT},
        "lacks": sorted(set(LABEL_FIELDS) - reading.fields - extra.fields),
        "notes": dict(reading.notes),
    }


class _Tables:
    """Writes the rows of ingest where they belong: labels and pictures, each distinct one once, or rejected rows."""

    def __init__(self, output: Path, extra: ExtraLabels):
        self.seen: set[bytes] = set()  # SHA-256 of the pictures written so far
        self._extra = extra
        self._labels = _Blocks(output / "labels.parquet", LABELS)
        self._rejected = _Blocks(output / "rejected.parquet", REJECTED)
        self._images = _Parts(output / "images")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in (self._labels, self._rejected, self._images):
            writer.close()

    def write(self, row: Measured | Rejection) -> str:
        """Write a row; return the reason why it is rejected, or KEPT."""
        if isinstance(row, Rejection):
            self._rejected.write({"path": row.path, "reason": row.reason, "detail": row.detail})
            return row.reason
        picture = {"image_id": row.image_id, "path": row.path}
        size = {"width": row.width, "height": row.height, "phash": row.phash, "thumbnail": row.thumbnail}
        labels = self._extra.fill(row.path, row.sample.labels)
        self._labels.write({**picture, **size, **{name: getattr(labels, name) for name in LABEL_FIELDS}})
        digest = bytes.fromhex(row.image_id)
        if digest not in self.seen:
            self.seen.add(digest)
            self._images.write({**picture, "bytes": row.sample.data})
        return KEPT


class _Blocks:
    """A Parquet table written row by row, in blocks of a fixed number of rows."""

    def __init__(self, path: Path, schema: pa.Schema):
        self._schema = schema
        self._rows: list[dict[str, Any]] = []
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def write(self, row: dict[str, Any]) -> None:
        """Add a row; a column that it lacks is null."""
        self._rows.append(row)
        if len(self._rows) == BLOCK_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is held, and the end of the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
            self._rows.clear()


class _Parts:
    """The images table: Parquet files of a bounded number of pictures and bytes each."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self._folder = folder
        self._written = 0
        self._rows: list[dict[str, Any]] = []
        self._held = 0  # bytes of the pictures in `_rows`

    def write(self, row: dict[str, Any]) -> None:
        """Add a picture."""
        self._rows.append(row)
        self._held += len(row["bytes"])
        if len(self._rows) == PART_ROWS or self._held >= PART_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is held."""
        self._flush()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_pylist(self._rows, IMAGES)
            write_table(self._folder / f"part-{self._written:05d}.parquet", table, IMAGES)
            self._written += 1
            self._rows.clear()
            self._held = 0
