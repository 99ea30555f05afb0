"""The gate of data/crop: one crop a picture, all of one size, their quality measured, and no picture lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from faceline.datasets.tables import CROPS, REJECTED
from faceline.errors import PictureError
from faceline.faces.decoding import PIXELS_LIMIT, decode
from faceline.faces.quality import measure
from faceline.gates.expectations import Gate, Inputs, Judged, absent, between, equal, known, rows
from faceline.gates.frames import (
    conserved,
    counted,
    facts,
    identified,
    parts,
    png_sides,
    read_frame,
    read_summary,
    rejected,
    shape,
    share,
    spread,
)
from faceline.gates.limits import Rows, Share
from faceline.params import Settings

BATCH = 256  # crops in memory at a time
AGAIN = 2000  # crops that are decoded and measured again, at most: some seconds
ROUNDING = 2e-5  # of a measure of 100 or more: it has three decimals, and other processors round float32 otherwise
MEASURES = ["sharpness", "brightness"]  # of the crop alone; a face's side is that of its box
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
    crops, again = _crops(inputs.table / "faces")
    dropped = read_frame(inputs.table / "rejected.parquet", ["image_id", "reason"])
    before = read_frame(inputs.beside / "kept.parquet", ["image_id"])["image_id"]
    yield _judged(crops, limits)
    yield _again(crops, again)
    yield conserved("image_id", before, crops["image_id"], dropped["image_id"])
    yield rejected(inputs.table / "rejected.parquet", "image_id")
    yield counted(read_summary(inputs.table), len(before), len(crops), dropped["reason"])
    few = [between("rejected", 0, limits.max_rejected, why="more is a broken detector, or bounds on quality set wrong")]
    yield facts("shares of the kept pictures", {"rejected": share(len(dropped), len(before))}, few)


def _crops(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table with the sides of each PNG (0 where it is none) in place of its bytes, and what was measured again.

    Streamed: a batch of crops is in memory at a time.
    """
    chosen = spread(folder, AGAIN)
    frames: list[pd.DataFrame] = []
    again: list[dict[str, Any]] = []
    done = 0
    for part in parts(folder):
        for batch in pq.ParquetFile(part).iter_batches(BATCH):
            frame = batch.to_pandas()
            pngs = frame.pop("png")
            frame[["png_width", "png_height"]] = [png_sides(data) for data in pngs]
            wanted = [place for place in range(len(frame)) if done + place in chosen]
            again += [_measured(done + place, pngs[place]) for place in wanted]
            done += len(frame)
            frames.append(frame)
    names = [*(name for name in CROPS.names if name != "png"), "png_width", "png_height"]
    crops = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=names)
    return crops, pd.DataFrame(again, columns=["place", "problem", *MEASURES])


def _measured(place: int, png: bytes | None) -> dict[str, Any]:
    """The measures of the crop at this place of the table, or why it cannot be decoded."""
    try:
        quality = measure(decode(png or b"", max_pixels=PIXELS_LIMIT), 0)
    except PictureError as error:
        return {"place": place, "problem": f"{error.reason}: {error.detail}"}
    return {"place": place, "sharpness": quality.sharpness, "brightness": quality.brightness}


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


def _again(crops: pd.DataFrame, again: pd.DataFrame) -> Judged:
    """The gap between what a row says and what was measured again, relative to what it says, or to 100 if that is more.

    It is null where the crop cannot be decoded, or the row says no number.
    """
    beside = crops.iloc[again["place"].astype(int)].reset_index(drop=True)
    frame = pd.DataFrame({"image_id": beside["image_id"], "problem": again["problem"]})
    for name in MEASURES:
        said = beside[name].astype(float)
        frame[f"{name}_gap"] = (again[name].astype(float) - said).abs() / said.abs().clip(lower=100)
    why = "the crop is the one that was measured, and so that of its picture"
    expectations = [
        rows(1, why="there are crops"),
        absent("problem", why="a crop can be decoded, to its last row"),
        *(between(f"{name}_gap", 0, ROUNDING, why=why) for name in MEASURES),
    ]
    return Judged("crops measured again", frame, "image_id", expectations)


GATE = Gate(Limits, suite)
