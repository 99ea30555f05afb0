import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from faceline.datasets import records
from faceline.datasets.crops import CropFormat, Held
from faceline.datasets.records import (
    Format,
    ShardSettings,
    dataset,
    encode,
    parse,
    read_manifest,
    read_rows,
    shard_files,
)
from faceline.errors import SettingsError, SourceError
from faceline.faces.decoding import encode_png
from faceline.params import parse_settings
from tests.toys import ROWS, SIDE, pixels, rows, write_shards


@pytest.mark.parametrize("form", ["tfrecord", "parquet"])
def test_rows_come_back_as_they_were_written(tmp_path: Path, form: str) -> None:
    shards = write_shards(tmp_path / "shards", ShardSettings(formats=(form,), rows=10, seed=1))
    assert list(read_rows(shards, "train")) == rows(ROWS["train"], 0)
    assert len(shard_files(shards, "train", form)) == 5


def test_parser_undoes_the_encoder(tmp_path: Path) -> None:
    row = rows(1, 0)[0]
    parsed = parse(encode(row))
    assert parsed["image_id"].numpy().decode() == row["image_id"]
    assert parsed["crop"].numpy() == row["crop"]
    assert [int(parsed[name]) for name in ("age", "gender", "race")] == [row["age"], row["gender"], -1]


def test_an_encoded_row_is_always_the_same() -> None:
    row = rows(1, 0)[0]
    assert encode(row) == encode(dict(reversed(row.items())))


def test_dataset_streams_the_files_in_order(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", ShardSettings(formats=("tfrecord",), rows=20, seed=1))
    ids = [
        item["image_id"].decode()
        for item in dataset(shard_files(shards, "train", "tfrecord")).map(parse).as_numpy_iterator()
    ]
    assert ids == [row["image_id"] for row in rows(ROWS["train"], 0)]


@pytest.mark.parametrize("form", ["tfrecord", "parquet"])
@pytest.mark.parametrize("held", ["raw", "png"])
def test_training_gets_the_rows_as_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Format, held: Held
) -> None:
    settings = ShardSettings(formats=(form,), rows=20, pixels=held, seed=1)
    shards = write_shards(tmp_path / "shards", settings)
    monkeypatch.setattr(records, "BLOCK", 8)
    crops = CropFormat.of(read_manifest(shards))
    found = list(records.rows(shard_files(shards, "train", form), form, crops).as_numpy_iterator())
    assert len(found) == ROWS["train"]
    for row, wanted in zip(found, rows(ROWS["train"], 0), strict=True):
        crop = row["crop"] if held == "raw" else crops.tensor(row["crop"]).numpy()
        assert isinstance(row["crop"], bytes) is (held == "png")
        assert np.array_equal(crop, pixels(wanted))
        assert row["image_id"].decode() == wanted["image_id"]
        assert [row[name] for name in ("age", "gender")] == [wanted["age"], wanted["gender"]]
        assert row["race"] == (-1 if wanted["race"] is None else wanted["race"])


def test_values_of_a_slice_come_together_without_their_neighbours() -> None:
    column = pa.array([b"ab", b"c", b"def", b"gh"], pa.binary()).slice(1, 2)
    assert records._together(column).tobytes() == b"cdef"


def test_tensorflow_understands_what_it_is_given(tmp_path: Path) -> None:
    """It would warn of a function that it runs as it is, in every training."""
    shards = write_shards(tmp_path / "shards", ShardSettings(formats=("tfrecord",), rows=20, seed=1))
    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = said.append  # type: ignore[method-assign]
    tf.get_logger().addHandler(handler)
    try:
        records.rows(shard_files(shards, "train", "tfrecord"), "tfrecord", CropFormat("raw", SIDE))
    finally:
        tf.get_logger().removeHandler(handler)
    assert not [record.getMessage() for record in said]


def test_strings_become_the_same_pixels_in_tensorflow() -> None:
    row = rows(1, 0)[0]
    for held, data in (("raw", row["crop"]), ("png", encode_png(pixels(row)))):
        crops = CropFormat(held, SIDE)  # type: ignore[arg-type]
        assert np.array_equal(crops.tensor(data).numpy(), pixels(row))
        assert np.array_equal(crops.unpack(data), pixels(row))
        assert crops.unpack(data).shape == (SIDE, SIDE, 3)


def test_a_format_that_was_not_written_is_named(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", ShardSettings(formats=("parquet",), rows=20, seed=1))
    with pytest.raises(SourceError, match="holds no tfrecord"):
        shard_files(shards, "train", "tfrecord")


def test_missing_shards_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"manifest\.json is missing"):
        list(read_rows(tmp_path, "train"))


@pytest.mark.parametrize(
    "wrong", [{"formats": ["tfrecord", "tfrecord"]}, {"formats": []}, {"formats": ["csv"]}, {"rows": 0}]
)
def test_senseless_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="shard"):
        parse_settings(ShardSettings, {"formats": ["tfrecord"], "rows": 5, "seed": 1, **wrong}, "shard")
