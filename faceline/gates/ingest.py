"""The gate of data/ingest: what the readers made of the sources, before any label is judged."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pandas as pd
import pyarrow.parquet as pq
from pydantic import Field

from faceline.datasets.tables import IMAGES, LABELS, OVERRIDES, REJECTED
from faceline.gates.expectations import Gate, Inputs, Judged, between, equal, known, matches, one_of, rows, unique
from faceline.gates.frames import (
    SHA256,
    codes,
    counted,
    distribution,
    facts,
    identified,
    parts,
    read_frame,
    read_summary,
    rejected,
    shape,
    share,
)
from faceline.gates.limits import LabelLimits, Rows, Share
from faceline.params import Settings

BATCH = 256  # pictures in memory at a time
READ = ["image_id", "path", "width", "height", "phash", "age", "gender", "race"]


class Limits(Settings):
    """Thresholds of the ingest gate."""

    min_rows: Rows  # readable rows
    max_rejected: Share  # of all rows of the sources
    max_side: Annotated[int, Field(ge=1)]  # pixels
    labels: LabelLimits


def suite(inputs: Inputs, limits: Limits) -> Iterator[Judged]:
    """Shapes, then the labels, then the pictures that belong to them, then what was rejected."""
    yield from shape(inputs.table / "labels.parquet", LABELS)
    yield from shape(inputs.table / "rejected.parquet", REJECTED)
    yield from shape(inputs.table / "overrides.parquet", OVERRIDES)
    yield from shape(inputs.table / "images", IMAGES)
    labels = read_frame(inputs.table / "labels.parquet", READ)
    yield _labels(labels, limits)
    yield from distribution("labels", "path", labels, limits.labels)
    pictures = _pictures(inputs.table / "images")
    yield _proved(pictures)
    yield _matched(pictures["image_id"], labels["image_id"])
    yield rejected(inputs.table / "rejected.parquet", "path")
    dropped = read_frame(inputs.table / "rejected.parquet", ["path", "reason"])
    total = len(labels) + len(dropped)
    # The sources' own rows are counted by the reader alone, so its count is held against the two tables.
    yield counted(read_summary(inputs.table), total, len(labels), dropped["reason"])
    few = [
        between("rejected", 0, limits.max_rejected, why="more unreadable rows than this is a broken archive or reader")
    ]
    yield facts("shares of the sources' rows", {"rejected": share(len(dropped), total)}, few)


def _labels(frame: pd.DataFrame, limits: Limits) -> Judged:
    """Ages may be nonsense here: the source says so, and `clean` judges them."""
    expectations = [
        rows(limits.min_rows, why="an empty or cut archive passes every share"),
        known("path", why="the path is the key of a row up to clean"),
        unique("path", why="the path is the key of a row up to clean"),
        known("image_id", why="the picture of a readable row is known"),
        matches("image_id", SHA256, why="a picture is named by the SHA-256 of its bytes"),
        known("phash", why="near-identical pictures are found by it"),
        between("width", 1, limits.max_side, why="a decoded picture has pixels, and no bomb has got through"),
        between("height", 1, limits.max_side, why="as for the width"),
        *codes(),
    ]
    return Judged("labels.parquet", frame, "path", expectations, numbers={"rows": len(frame)})


def _pictures(folder: Path) -> pd.DataFrame:
    """image_id, path, number of bytes and SHA-256 of these bytes, of every stored picture; streamed."""
    found = []
    for part in parts(folder):
        for batch in pq.ParquetFile(part).iter_batches(BATCH):
            for image_id, path, data in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                found.append((image_id, path, len(data or b""), hashlib.sha256(data or b"").hexdigest()))
    return pd.DataFrame(found, columns=["image_id", "path", "bytes", "sha256"])


def _proved(pictures: pd.DataFrame) -> Judged:
    expectations = [
        rows(1, why="there are pictures"),
        *identified(),
        between("bytes", 1, None, why="an empty file is no picture"),
        equal("image_id", "sha256", why="the bytes are the very ones that were read and named"),
    ]
    return Judged("images", pictures, "image_id", expectations, numbers={"pictures": len(pictures)})


def _matched(pictures: "pd.Series[str]", labels: "pd.Series[str]") -> Judged:
    """Each picture once, and no label without its picture, nor picture without a label."""
    counts = {"pictures": pictures.value_counts(), "labelled": labels.value_counts() > 0}
    frame = pd.DataFrame(counts).fillna(0).astype(int).sort_index().rename_axis("image_id").reset_index()
    expectations = [
        one_of("pictures", [1], why="each distinct picture of a label is stored, and once"),
        one_of("labelled", [1], why="a picture without a label would be carried along for nothing"),
    ]
    return Judged("pictures of labels", frame, "image_id", expectations)


GATE = Gate(Limits, suite)
