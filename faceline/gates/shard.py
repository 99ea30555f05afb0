"""The gate of data/shards: every assigned row is in its subset's shards, the same in every format, and vouched for."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from faceline.console import load_tensorflow
from faceline.datasets.crops import Held
from faceline.datasets.labels import OLDEST
from faceline.datasets.records import LABEL_COLUMNS, MANIFEST, dataset, parse
from faceline.datasets.tables import MISSING, SHARD, SUBSETS
from faceline.files import read_json, sha256_file
from faceline.gates.expectations import Gate, Inputs, Judged, between, equal, known, one_of, rows
from faceline.gates.frames import codes, counted, distribution, identified, png_sides, read_frame, read_summary, shape
from faceline.gates.limits import LabelLimits, Rows
from faceline.params import Settings

BATCH = 256  # pictures in memory at a time
COLUMNS = ["image_id", "subset", "crop_sha256", *LABEL_COLUMNS]
SIZES = ["crop_bytes", "crop_width", "crop_height"]
HELD = get_args(Held)


class Limits(Settings):
    """Thresholds of the shard gate."""

    min_rows: Rows  # in each subset
    labels: LabelLimits  # of all subsets together


def suite(inputs: Inputs, limits: Limits) -> Iterator[Judged]:
    """The files against the manifest, then the rows against the assignment and between formats, then the labels."""
    manifest = _manifest(inputs.table)
    yield _files(inputs.table, manifest)
    for entry in manifest["files"]:
        if entry["format"] == "parquet":
            yield from shape(inputs.table / entry["file"], SHARD)
    held = {form: _read(inputs.table, manifest, form) for form in manifest["formats"]}
    assigned = read_frame(inputs.beside / "assignment.parquet", ["image_id", "subset"])
    for form, frame in held.items():
        yield _complete(form, frame, assigned)
    if len(held) > 1:
        yield _same(*held.values())
    frame = next(iter(held.values()))
    yield _sizes(frame, manifest, limits)
    yield _rows(frame)
    yield _crops(frame, manifest)
    yield from distribution("shards", "image_id", frame, limits.labels)
    yield counted(read_summary(inputs.table), len(assigned), len(frame), [])


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest; one without files where it is missing or damaged, so that what is expected of it fails."""
    try:
        manifest: dict[str, Any] = read_json(folder / MANIFEST)
    except (FileNotFoundError, json.JSONDecodeError):
        manifest = {}
    return {"files": [], "formats": [], "rows": {}, **manifest}


def _files(folder: Path, manifest: dict[str, Any]) -> Judged:
    """Every file of the folder beside every file of the manifest."""
    said = {entry["file"]: entry["sha256"] for entry in manifest["files"]}
    there = {path.relative_to(folder).as_posix(): path for path in folder.glob("*/*") if path.is_file()}
    names = sorted(said | there)
    frame = pd.DataFrame({"file": names}, dtype=str)
    frame["sha256"] = [sha256_file(there[name]) if name in there else "absent" for name in names]
    frame["manifest"] = [said.get(name, "absent") for name in names]
    expectations = [
        rows(1, why="the manifest names the shards"),
        equal("sha256", "manifest", why="a shard is the very file that was written, and none is missing or left over"),
    ]
    numbers = {"files": len(there)}
    return Judged(MANIFEST, frame, "file", expectations, essential=True, numbers=numbers)


def _read(folder: Path, manifest: dict[str, Any], form: str) -> pd.DataFrame:
    """COLUMNS of every row in one format, in order, and SIZES of its picture; streamed.

    Width and height are those of the header, 0 where the picture is no PNG.
    """
    frames = [pd.DataFrame(columns=[*COLUMNS, *SIZES])]
    for subset in SUBSETS:
        files = [
            folder / item["file"] for item in manifest["files"] if (item["subset"], item["format"]) == (subset, form)
        ]
        for frame in _parquet(files) if form == "parquet" else _tfrecord(files):
            pictures = [data or b"" for data in frame.pop("crop")]
            frame["crop_sha256"] = [hashlib.sha256(data).hexdigest() for data in pictures]
            frame[SIZES] = [(len(data), *png_sides(data)) for data in pictures]
            frames.append(frame.assign(subset=subset)[[*COLUMNS, *SIZES]])
    whole = pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)
    return whole.astype(dict.fromkeys(LABEL_COLUMNS, float))


def _parquet(files: list[Path]) -> Iterator[pd.DataFrame]:
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(BATCH):
            yield batch.to_pandas()


def _tfrecord(files: list[Path]) -> Iterator[pd.DataFrame]:
    load_tensorflow()
    for batch in dataset(files).map(parse).batch(BATCH).as_numpy_iterator() if files else ():
        labels = {name: np.where(batch[name] == MISSING, np.nan, batch[name]) for name in LABEL_COLUMNS}
        ids = [image_id.decode() for image_id in batch["image_id"]]
        yield pd.DataFrame({"image_id": ids, "crop": list(batch["crop"]), **labels})


def _complete(form: str, frame: pd.DataFrame, assigned: pd.DataFrame) -> Judged:
    """Each assigned picture beside where it is found in one format."""
    both = assigned.merge(frame[["image_id", "subset"]], "outer", "image_id", suffixes=("_assigned", "_found"))
    expectations = [
        rows(len(assigned), len(assigned), why="each assigned row is written once, and no other"),
        equal(
            "subset_assigned",
            "subset_found",
            why="a row in another subset than its own is tested on, or learnt, by error",
        ),
    ]
    return Judged(f"{form} beside assignment", both, "image_id", expectations)


def _same(one: pd.DataFrame, other: pd.DataFrame) -> Judged:
    """Row by row, what the two formats hold."""
    both = one.join(other.add_suffix("_other"), how="outer")
    why = "the formats are two copies of the same rows in the same order"
    return Judged("formats", both, "image_id", [equal(name, f"{name}_other", why=why) for name in COLUMNS])


def _sizes(frame: pd.DataFrame, manifest: dict[str, Any], limits: Limits) -> Judged:
    sizes = frame["subset"].value_counts().reindex(list(SUBSETS), fill_value=0)
    subsets = sizes.rename("rows").rename_axis("subset").reset_index()
    subsets["manifest"] = pd.Series([manifest["rows"].get(subset) for subset in SUBSETS], dtype=float)
    expectations = [
        between("rows", limits.min_rows, None, why="a subset of a few rows neither trains nor judges a model"),
        equal("rows", "manifest", why="training counts its steps by the manifest"),
    ]
    return Judged("subsets", subsets, "subset", expectations)


def _rows(frame: pd.DataFrame) -> Judged:
    expectations = [
        rows(1, why="an empty table passes every share"),
        *identified(),
        between("age", 0, OLDEST, why="the age bins of a network end there"),
        *codes(),
    ]
    return Judged("shards", frame, "image_id", expectations, numbers={"rows": len(frame)})


def _crops(frame: pd.DataFrame, manifest: dict[str, Any]) -> Judged:
    """The bytes of each picture against what the manifest says of them, by which training unpacks them."""
    pixels, side = manifest.get("pixels"), manifest.get("crop_size")
    crops = frame[["image_id", *SIZES]].assign(pixels=str(pixels), side=side).astype({"side": float})
    expectations = [
        one_of("pixels", HELD, why="the manifest says what the bytes of a crop are"),
        known("side", why="the manifest says how many pixels a side a crop has"),
        between("crop_bytes", 1, None, why="a row has its picture"),
    ]
    if pixels == "raw":
        crops["pixel_bytes"] = crops["side"] ** 2 * 3
        expectations.append(equal("crop_bytes", "pixel_bytes", why="three bytes a pixel, or no batch can be made"))
    if pixels == "png":
        why = "a PNG of the manifest's size, or no batch can be made"
        expectations += [equal(name, "side", why=why) for name in ("crop_width", "crop_height")]
    return Judged("crops", crops, "image_id", expectations)


GATE = Gate(Limits, suite)
