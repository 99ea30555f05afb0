"""The gate of data/crop: one crop a picture, all of one size, their quality measured, and no picture lost."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from faceline.datasets.tables import CROPS, REJECTED
from faceline.gates.expectations import Gate, Inputs, Judged, between, equal, known, rows
from faceline.gates.frames import (
    conserved,
    counted,
    facts,
    identified,
    parts,
    read_frame,
    read_summary,
    rejected,
    shape,
    share,
)
from faceline.gates.limits import Rows, Share
from faceline.params import Settings

BATCH = 256  # crops in memory at a time
SIGNATURE = b"\x89PNG\r\n\x1a\n"  # PNG specification (W3C, third edition), 5.2
SIDES = slice(16, 24)  # width and height in the header chunk, which comes first: 11.2.1
SHARPEST = (
    4 * 255.0
) ** 2  # the largest square of a Laplacian (kernel 1, -4, 1) of grey levels, and so of its variance


class Limits(Settings):
    """Thresholds of the crop gate."""

    min_rows: Rows  # crops
    max_rejected: Share  # of the kept pictures


def suite(inputs: Inputs, limits: Limits) -> Iterator[Judged]:
    """Shapes, then the crops, then what was rejected."""
    yield from shape(inputs.table / "faces", CROPS)
    yield from shape(inputs.table / "rejected.parquet", REJECTED)
    crops = _crops(inputs.table / "faces")
    dropped = read_frame(inputs.table / "rejected.parquet", ["image_id", "reason"])
    before = read_frame(inputs.beside / "kept.parquet", ["image_id"])["image_id"]
    yield _judged(crops, limits)
    yield conserved("image_id", before, crops["image_id"], dropped["image_id"])
    yield rejected(inputs.table / "rejected.parquet", "image_id")
    yield counted(read_summary(inputs.table), len(before), len(crops), dropped["reason"])
    few = [between("rejected", 0, limits.max_rejected, why="more is a broken detector, or bounds on quality set wrong")]
    yield facts("shares of the kept pictures", {"rejected": share(len(dropped), len(before))}, few)


def _crops(folder: Path) -> pd.DataFrame:
    """The table with the sides of each PNG (0 where it is none) in place of its bytes; streamed."""
    frames = []
    for part in parts(folder):
        for batch in pq.ParquetFile(part).iter_batches(BATCH):
            frame = batch.to_pandas()
            frame[["png_width", "png_height"]] = [_sides(data) for data in frame.pop("png")]
            frames.append(frame)
    names = [*(name for name in CROPS.names if name != "png"), "png_width", "png_height"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=names)


def _sides(data: bytes | None) -> tuple[int, int]:
    if not data or not data.startswith(SIGNATURE):
        return 0, 0
    width, height = np.frombuffer(data[SIDES], ">u4")
    return int(width), int(height)


def _judged(crops: pd.DataFrame, limits: Limits) -> Judged:
    sides = crops["png_width"].mode()
    crops["common_side"] = sides[0] if len(sides) else 0
    measured = [known(name, why="NaN or none is not measured") for name in ("face_side", "sharpness", "brightness")]
    expectations = [
        rows(limits.min_rows, why="an empty table passes every share"),
        *identified(),
        between("png_width", 1, None, why="the crop is a PNG and has pixels"),
        equal("png_width", "png_height", why="a crop is square"),
        equal("png_width", "common_side", why="all crops of a dataset have one size, or no batch could be made"),
        *measured,
        between("face_side", 1, None, why="a face has pixels"),
        between("sharpness", 0, SHARPEST, why="a variance of 8-bit grey levels is finite"),
        between("brightness", 0, 255, why="a mean grey level of 8 bits"),
    ]
    return Judged("faces", crops, "image_id", expectations, numbers={"rows": len(crops)})


GATE = Gate(Limits, suite)
