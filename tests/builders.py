"""Small good tables of every stage, consistent with one another, for tests to judge and to spoil."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from faceline.datasets.labels import GENDERS, RACES
from faceline.datasets.records import MANIFEST, WRITERS
from faceline.datasets.sources.measuring import Measured, Measurer
from faceline.datasets.sources.source import Labels, Sample
from faceline.datasets.summary import summarize
from faceline.datasets.tables import (
    ASSIGNMENT,
    CROPS,
    FACES,
    IMAGES,
    KEPT,
    LABELS,
    MISSING,
    OVERRIDES,
    PREDICTIONS,
    REJECTED,
    SUBSETS,
)
from faceline.evaluation.metrics import Constants, coverage, evaluate
from faceline.faces.decoding import decode, encode_png
from faceline.faces.quality import measure
from faceline.files import read_table, sha256_file, write_json, write_table

PICTURES = 60
SIDE = 16  # pixels of a crop
UNREADABLE, YOUNG, OVERRIDDEN, CORRECTED = "sample/unreadable.jpg", 3, 2, 1
NO_FACE, TWO_FACES, FAILED = 4, 5, 6  # by index, as above
FRACTIONS = {"train": 0.5, "val": 0.25, "test": 0.25}
FOLDS = 5
CONSTANTS = {"age_median": 45.0, "gender_majority": 1, "race_majority": 0}
INTEGERS = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


@dataclass(frozen=True)
class World:
    """The folders of all stages under one root, and the pictures in them."""

    root: Path
    pictures: pd.DataFrame  # image_id, path, bytes, what ingest measures, age, gender, race

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    def copy(self, root: Path) -> "World":
        """The same tables once more, to be spoilt."""
        shutil.copytree(self.root, root)
        return World(root, self.pictures)

    def image_id(self, index: int) -> str:
        return str(self.pictures["image_id"][index])

    def path(self, index: int) -> str:
        return str(self.pictures["path"][index])


def world(root: Path) -> World:
    """All tables, from ingest to evaluate."""
    made = World(root, _pictures())
    kept = made.pictures.drop([OVERRIDDEN, YOUNG])
    cropped = kept.drop([NO_FACE, TWO_FACES, FAILED])
    ingest(made)
    clean(made, kept)
    detect(made, kept)
    crop(made, kept, cropped)
    assignment = split(made, cropped)
    shard(made, cropped.merge(assignment, on="image_id"))
    train(made)
    predict(made)
    return made


def spoil(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> None:
    """Let `change` alter a table's frame, in place or by returning another; the schema stays."""
    schema = pq.read_schema(path)
    frame = read_table(path).to_pandas(types_mapper=INTEGERS.get)
    changed = change(frame)
    write_table(path, table(frame if changed is None else changed, schema), schema)


def drop_column(path: Path, name: str) -> None:
    """Leave a column out of a table."""
    pq.write_table(read_table(path).drop_columns(name), path)


def table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """The frame with exactly the schema's columns; those that it lacks are null."""
    there = {
        name: pa.array(frame[name], schema.field(name).type, from_pandas=True) for name in schema.names if name in frame
    }
    return pa.table({f.name: there.get(f.name, pa.nulls(len(frame), f.type)) for f in schema}, schema)


def ingest(made: World) -> None:
    rows = made.pictures
    unreadable = pd.DataFrame({"path": [UNREADABLE], "reason": "empty_file", "detail": "0 bytes"})
    changes = {"path": [made.path(OVERRIDDEN), made.path(CORRECTED)], "action": ["reject", "set"], "age": [None, 30]}
    _write(made / "ingest/labels.parquet", rows, LABELS)
    half = PICTURES // 2
    _write(made / "ingest/images/part-00000.parquet", rows[:half], IMAGES)
    _write(made / "ingest/images/part-00001.parquet", rows[half:], IMAGES)
    _write(made / "ingest/overrides.parquet", pd.DataFrame(changes).astype({"age": "Int16"}), OVERRIDES)
    _finish(made / "ingest", PICTURES + 1, PICTURES, unreadable)


def clean(made: World, kept: pd.DataFrame) -> None:
    kept = kept.copy()
    kept.loc[CORRECTED, "age"] = 30
    dropped = made.pictures.loc[[OVERRIDDEN, YOUNG]].assign(reason=["overridden", "age_below_minimum"], detail="")
    _write(made / "clean/kept.parquet", kept, KEPT)
    _finish(made / "clean", PICTURES, len(kept), dropped)


def detect(made: World, kept: pd.DataFrame) -> None:
    box = {"x": -1, "y": 2, "width": 9, "height": 8, "landmarks": [1] * 10}
    found: list[dict[str, Any]] = []
    for index, image_id in kept["image_id"].items():
        count = {NO_FACE: 0, TWO_FACES: 2}.get(int(str(index)), 1)
        if index == FAILED:
            found.append({"image_id": image_id, "error": "RuntimeError: broken"})
        elif not count:
            found.append({"image_id": image_id, "count": 0})
        for face in range(count if index != FAILED else 0):
            found.append({"image_id": image_id, "count": count, "face": face, "score": 0.99 - face / 10, **box})
    write_table(made / "detect/faces.parquet", pa.Table.from_pylist(found, FACES), FACES)
    counts = summarize(len(kept), len(kept), REJECTED.empty_table())
    write_json(made / "detect/summary.json", counts)


def crop(made: World, kept: pd.DataFrame, cropped: pd.DataFrame) -> None:
    measured = [vars(measure(decode(data, max_pixels=SIDE**2), 8)) for data in cropped["bytes"]]
    rows = cropped.assign(png=cropped["bytes"]).join(pd.DataFrame(measured, cropped.index))
    dropped = kept.loc[[NO_FACE, TWO_FACES, FAILED]]
    dropped = dropped.assign(reason=["no_face", "several_faces", "detector_failed"], detail="")
    _write(made / "crop/faces/part-00000.parquet", rows[:20], CROPS)
    _write(made / "crop/faces/part-00001.parquet", rows[20:], CROPS)
    _finish(made / "crop", len(kept), len(cropped), dropped)


def split(made: World, cropped: pd.DataFrame) -> pd.DataFrame:
    """The assignment: by turns; the first two pictures are one group."""
    rows = cropped[["image_id"]].reset_index(drop=True)
    rows["group"] = rows["image_id"].mask(rows.index == 1, rows["image_id"][0])
    rows["subset"] = np.array(["train", "train", "val", "test"])[rows.index % 4]
    rows["fold"] = rows.index // 2 % FOLDS
    _write(made / "split/assignment.parquet", rows, ASSIGNMENT)
    means = {"age_mean": 45.0, "female_share": 0.5, "race_0_share": 0.2}
    labels = {"train": means, "val": means, "test": {**means, "age_mean": 46.0}}
    summary = summarize(
        len(rows), len(rows), REJECTED.empty_table(), seed=1, fractions=FRACTIONS, folds=FOLDS, labels=labels
    )
    write_json(made / "split/summary.json", summary)
    return rows


def shard(made: World, rows: pd.DataFrame, formats: tuple[str, ...] = ("parquet", "tfrecord")) -> None:
    """The shards of rows with subset, bytes and labels, in two files a subset at most."""
    files = []
    for subset in SUBSETS:
        mine = rows[rows["subset"] == subset].rename(columns={"bytes": "crop"})
        (made / f"shards/{subset}").mkdir(parents=True, exist_ok=True)
        for number, part in enumerate((mine[:20], mine[20:])):
            for form in formats if len(part) else ():
                name = f"{subset}/part-{number:05d}.{form}"
                with WRITERS[form](made / "shards" / name) as writer:  # type: ignore[index]
                    for row in part[["image_id", "crop", "age", "gender", "race"]].to_dict("records"):
                        writer.write({key: None if value is pd.NA else value for key, value in row.items()})
                entry = {"file": name, "subset": subset, "format": form, "rows": len(part)}
                files.append({**entry, "sha256": sha256_file(made / "shards" / name)})
    counts = {subset: int((rows["subset"] == subset).sum()) for subset in SUBSETS}
    labels = {"gender": GENDERS, "race": RACES, "missing": MISSING}
    manifest = {
        "files": files,
        "formats": sorted(formats),
        "rows": counts,
        "labels": labels,
        "crop_size": SIDE,
        "pixels": "png",
    }
    write_json(made / "shards" / MANIFEST, manifest)
    write_json(made / "shards/summary.json", summarize(len(rows), len(rows), REJECTED.empty_table()))


def train(made: World) -> None:
    """The history of two networks; the bundle is an empty folder, for a fake to load."""
    epochs = [{"epoch": epoch, "loss": 3 / epoch, "val_loss": 4 / epoch, "learning_rate": 0.01} for epoch in (1, 2, 3)]
    history = pd.concat([pd.DataFrame(epochs).assign(network=name) for name in ("age", "gender")])
    (made / "bundle").mkdir()
    history.to_csv(made / "history.csv", index=False)


def predict(made: World) -> None:
    """Predictions that are good and not perfect, their summary, and a baseline of the same metrics."""
    rows = made.pictures[["image_id", "age", "gender", "race"]].copy()
    turn = np.arange(len(rows))
    rows["age_predicted"] = rows["age"] + turn % 5 - 2.0
    rows["age_low"], rows["age_high"] = rows["age_predicted"] - 5, rows["age_predicted"] + 5
    rows["female_probability"] = np.where(turn % 10 == 0, 0.5, rows["gender"] * 0.8 + 0.1)
    answered = np.where(turn % 6 == 0, 0, rows["race"])
    rows["race_probabilities"] = [[0.6 if code == race else 0.1 for code in range(5)] for race in answered]
    _write(made / "evaluate/predictions.parquet", rows, PREDICTIONS)
    summarize_predictions(made)
    metrics = evaluate(read_table(made / "evaluate/predictions.parquet"), Constants(**CONSTANTS))
    write_json(made / "baseline.json", {"sample": {"metrics": metrics}})


def summarize_predictions(made: World) -> None:
    """The summary that tells the truth about the predictions as they are."""
    predictions = read_table(made / "evaluate/predictions.parquet")
    metrics = evaluate(predictions, Constants(**CONSTANTS))
    metrics["coverage"] = coverage(readable=60, cleaned=58, judged=55)
    count = len(predictions)
    summary = summarize(count, count, REJECTED.empty_table(), constants=CONSTANTS, metrics=metrics)
    write_json(made / "evaluate/summary.json", summary)


def _pictures() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    data = [encode_png(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(PICTURES)]
    turn = pd.Series(range(PICTURES))
    labels = {"age": (20 + turn % 50).astype("Int16"), "gender": (turn // 2 % 2).astype("Int8"), "race": turn % 5}
    ids = [hashlib.sha256(each).hexdigest() for each in data]
    paths = [f"sample/{index:02d}.png" for index in turn]
    samples = [Sample(path, each, Labels()) for path, each in zip(paths, data, strict=True)]
    measured = [each for each in Measurer(SIDE**2, 1, 1).measure_all(samples) if isinstance(each, Measured)]
    measures = {name: [getattr(each, name) for each in measured] for name in ("width", "height", "phash", "thumbnail")}
    return pd.DataFrame({"image_id": ids, "path": paths, "bytes": data, **measures, **labels}).astype({"race": "Int8"})


def _write(path: Path, frame: pd.DataFrame, schema: pa.Schema) -> None:
    write_table(path, table(frame, schema), schema)


def _finish(folder: Path, rows_in: int, kept: int, rejected: pd.DataFrame) -> None:
    _write(folder / "rejected.parquet", rejected, REJECTED)
    write_json(folder / "summary.json", summarize(rows_in, kept, table(rejected, REJECTED)))
