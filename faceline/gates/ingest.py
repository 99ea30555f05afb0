"""The gate of data/ingest: what the readers made of the sources, before any label is judged."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pyarrow.parquet as pq
from pydantic import Field

from faceline.datasets.sources.measuring import Measured, Measurer
from faceline.datasets.sources.source import Labels, Sample
from faceline.datasets.tables import IMAGES, LABELS, OVERRIDES, REJECTED
from faceline.gates.expectations import (
    Gate,
    Inputs,
    Judged,
    absent,
    between,
    equal,
    known,
    matches,
    one_of,
    rows,
    unique,
)
from faceline.gates.frames import (
    SHA256,
    codes,
    counted,
    distribution,
    facts,
    identified,
    parts,
    read_frame,
    read_labels,
    read_summary,
    rejected,
    shape,
    share,
    spread,
)
from faceline.gates.limits import LabelLimits, Rows, Share
from faceline.params import Settings

BATCH = 256  # pictures in memory at a time
AGAIN = 1000  # pictures that are decoded and measured again, at most: some seconds
THREADS = 2  # that measure; the answers do not depend on it
ROUNDED = 2  # bits of a perceptual hash that another processor, which rounds otherwise, may set otherwise
MEASURES = ["width", "height", "phash", "thumbnail"]
READ = ["image_id", "path", *MEASURES, "age", "gender", "race"]


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
    labels = read_labels(inputs.table / "labels.parquet", READ)
    yield _labels(labels, limits)
    yield from distribution("labels", "path", labels, limits.labels)
    pictures, again = _pictures(inputs.table / "images", limits.max_side)
    yield _proved(pictures)
    yield _matched(pictures["image_id"], labels["image_id"])
    yield from _again(again, labels)
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
        known("thumbnail", why="what the hash suspects is confirmed by it"),
        between("width", 1, limits.max_side, why="a decoded picture has pixels, and no bomb has got through"),
        between("height", 1, limits.max_side, why="as for the width"),
        *codes(),
    ]
    return Judged("labels.parquet", frame, "path", expectations, numbers={"rows": len(frame)})


def _pictures(folder: Path, max_side: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every stored picture, its number of bytes and their SHA-256, and those that are measured again; streamed."""
    chosen = spread(folder, AGAIN)
    measurer = Measurer(max_side**2, 1, THREADS)
    found: list[tuple[str, str, int, str]] = []
    again: list[dict[str, Any]] = []
    for part in parts(folder):
        for batch in pq.ParquetFile(part).iter_batches(BATCH):
            samples = []
            for image_id, path, data in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if len(found) in chosen:
                    samples.append((image_id, Sample(path, data or b"", Labels())))
                found.append((image_id, path, len(data or b""), hashlib.sha256(data or b"").hexdigest()))
            again += _measured(measurer, samples)
    pictures = pd.DataFrame(found, columns=["image_id", "path", "bytes", "sha256"])
    return pictures, pd.DataFrame(again, columns=["image_id", "problem", *MEASURES])


def _measured(measurer: Measurer, samples: list[tuple[str, Sample]]) -> Iterator[dict[str, Any]]:
    """The measures of each picture as `read_labels` gives them, or why it cannot be decoded."""
    results = measurer.measure_all(sample for _, sample in samples)
    for (image_id, _), result in zip(samples, results, strict=True):
        if isinstance(result, Measured):
            thumbnail = hashlib.sha256(result.thumbnail).hexdigest()
            size = {"width": result.width, "height": result.height}
            yield {"image_id": image_id, **size, "phash": str(result.phash), "thumbnail": thumbnail}
        else:
            yield {"image_id": image_id, "problem": f"{result.reason}: {result.detail}"}


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


def _again(again: pd.DataFrame, labels: pd.DataFrame) -> Iterator[Judged]:
    """The pictures that were decoded once more, and every label of these beside what was measured now."""
    decoded = [rows(1, why="there are pictures"), absent("problem", why="a picture was decoded before it was stored")]
    yield Judged("pictures decoded again", again, "image_id", decoded)
    both = labels.merge(again[again["problem"].isna()], on="image_id", suffixes=("", "_again"))
    hashes = both[["phash", "phash_again"]].dropna().astype("uint64")
    both["phash_bits"] = (hashes["phash"] ^ hashes["phash_again"]).map(int.bit_count)
    why = "the measures of a label are those of its picture"
    measures = [equal(name, f"{name}_again", why=why) for name in ("width", "height", "thumbnail")]
    measures.append(between("phash_bits", 0, ROUNDED, why=why))
    yield Judged("labels beside pictures", both, "path", measures)


GATE = Gate(Limits, suite)
