from pathlib import Path

import pytest

from faceline.datasets import records
from faceline.datasets.records import ShardSettings, dataset, encode, parse, read_rows, shard_files
from faceline.errors import SettingsError, SourceError
from faceline.params import parse_settings
from tests.toys import ROWS, rows, write_shards


@pytest.mark.parametrize("form", ["tfrecord", "parquet"])
def test_rows_come_back_as_they_were_written(tmp_path: Path, form: str) -> None:
    shards = write_shards(tmp_path / "shards", ShardSettings(formats=(form,), rows=10, seed=1))
    assert list(read_rows(shards, "train")) == rows(ROWS["train"], 0)
    assert len(shard_files(shards, "train", form)) == 5


def test_parser_undoes_the_encoder(tmp_path: Path) -> None:
    row = rows(1, 0)[0]
    parsed = parse(encode(row))
    assert parsed["image_id"].numpy().decode() == row["image_id"]
    assert parsed["png"].numpy() == row["png"]
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


def test_both_formats_give_the_same_rows_to_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = write_shards(tmp_path / "shards", ShardSettings(formats=("tfrecord", "parquet"), rows=20, seed=1))
    monkeypatch.setattr(records, "ROW_GROUP", 8)
    one, other = (
        list(records.rows(shard_files(shards, "train", form), form).as_numpy_iterator())
        for form in ("tfrecord", "parquet")
    )
    assert one == other
    assert len(one) == ROWS["train"]
    assert one[0].keys() == {"image_id", "png", "age", "gender", "race"}
    assert one[0]["race"] == -1


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
