"""The gates of split and shard: no group on two sides, rows stay put, every shard is whole and vouched for."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from faceline.datasets.records import MANIFEST
from faceline.datasets.tables import ASSIGNMENT
from faceline.faces.decoding import encode_png
from faceline.files import read_json, sha256_file, write_json, write_table
from faceline.gates.split import accept
from tests.builders import SIDE, World, drop_column, shard, table
from tests.judging import LABELS, failures, inputs, judge


def assignment(made: World) -> pd.DataFrame:
    return pd.read_parquet(made / "split/assignment.parquet")


def put(made: World, frame: pd.DataFrame) -> None:
    write_table(made / "split/assignment.parquet", table(frame, ASSIGNMENT), ASSIGNMENT)


def reshard(made: World, frame: pd.DataFrame, formats: tuple[str, ...] = ("parquet", "tfrecord")) -> None:
    """Shards of these rows, written anew, vouched for by their manifest."""
    for file in (made / "shards").glob("*/*"):
        file.unlink()
    shard(made, frame, formats)


def shards(made: World) -> pd.DataFrame:
    """The rows of good shards, with the picture as bytes."""
    return assignment(made).merge(made.pictures, on="image_id")


@pytest.mark.parametrize("name", ["split", "shard"])
def test_good_tables_pass(good: World, name: str) -> None:
    verdict = judge(good, name)
    assert failures(verdict) == {}
    assert verdict.numbers["rows"] == 55


def test_split_names_every_fault(made: World) -> None:
    frame = assignment(made)
    first, second = frame["image_id"][:2]
    group = frame["group"][0]
    frame.loc[1, ["subset", "fold"]] = ["test", 4]  # the group of the first two is torn apart
    frame.loc[2, "subset"] = "validation"
    frame.loc[3, "fold"] = -1
    frame.loc[4, "group"] = None
    frame.loc[5, "image_id"] = "0" * 64
    lost = assignment(made)["image_id"][5]
    put(made, frame)
    assert failures(judge(made, "split")) == {
        ("assignment.parquet", "subset"): [frame["image_id"][2]],
        ("assignment.parquet", "fold"): [frame["image_id"][3]],
        ("assignment.parquet", "group"): [frame["image_id"][4]],
        ("image_id before and after", "before"): ["0" * 64],
        ("image_id before and after", "after"): [lost],
        ("groups", "subsets"): [group],
        ("groups", "folds"): [group],
    }
    assert {first, second} == set(frame.loc[frame["group"] == group, "image_id"])


def test_split_bounds_groups_and_subsets(made: World) -> None:
    frame = assignment(made)
    train = frame["subset"] == "train"
    frame.loc[train, "group"] = "one"
    frame.loc[train, "fold"] = 0
    frame.loc[frame.index[~train][:10], "subset"] = "train"
    put(made, frame)
    assert failures(judge(made, "split", min_rows=12)) == {
        ("groups", "share"): ["one"],
        ("subsets", "rows"): ["test", "val"],
        ("subsets", "gap"): ["test", "train", "val"],
    }


def test_every_fold_that_was_asked_for_is_there_and_no_other(made: World) -> None:
    frame = assignment(made)
    put(made, frame.assign(fold=frame["fold"].replace({1: 0, 4: 8})))
    beyond = sorted(frame.loc[frame["fold"] == 4, "image_id"])
    found = failures(judge(made, "split"))
    assert found[("folds", "rows")] == [1, 4]
    assert set(found[("assignment.parquet", "fold")]) <= set(beyond) and len(found) == 2


def test_folds_that_were_not_asked_for_are_none(made: World) -> None:
    summary = read_json(made / "split/summary.json")
    del summary["folds"]
    write_json(made / "split/summary.json", summary)
    assert ("folds", None) in failures(judge(made, "split"))


def test_split_compares_the_labels_of_subsets(good: World) -> None:
    assert failures(judge(good, "split", age_mean_tolerance=0.5)) == {
        ("mean age beside train's", "gap"): ["test age_mean"]
    }
    tight = judge(good, "split", share_tolerance=0)
    assert tight.success


def test_a_subset_without_a_label_that_train_has_fails(made: World) -> None:
    summary = read_json(made / "split/summary.json")
    summary["labels"]["val"]["female_share"] = None
    write_json(made / "split/summary.json", summary)
    assert failures(judge(made, "split")) == {("shares of labels beside train's", "there"): ["val female_share"]}


def test_a_row_that_moved_alone_stops_and_is_counted(made: World) -> None:
    accept(inputs(made, "split"))
    assert judge(made, "split").numbers["moved"] == 0
    frame = assignment(made)
    frame.loc[10, "subset"] = "val" if frame["subset"][10] != "val" else "test"
    put(made, frame)
    verdict = judge(made, "split")
    assert failures(verdict) == {("moved rows", "group_changed"): [frame["image_id"][10]]}
    assert (verdict.numbers["moved"], verdict.numbers["moved_unexplained"]) == (1, 1)


def test_a_row_may_move_when_a_picture_joins_its_group(made: World) -> None:
    whole = assignment(made)
    put(made, whole.drop(10))  # the picture that joins was not there before
    accept(inputs(made, "split"))
    joined = whole.copy()
    joined.loc[10, ["group", "subset", "fold"]] = joined.loc[12, ["group", "subset", "fold"]]
    joined.loc[[10, 12], "subset"] = "val"
    put(made, joined)
    verdict = judge(made, "split")
    assert failures(verdict) == {}
    assert (verdict.numbers["moved"], verdict.numbers["moved_unexplained"]) == (1, 0)


def test_a_damaged_memory_of_the_last_split_is_as_good_as_none(made: World) -> None:
    given = inputs(made, "split")
    accept(given)
    assert given.store
    file = next(given.store.rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:40])
    assert judge(made, "split").success


def test_another_seed_is_not_compared(made: World) -> None:
    accept(inputs(made, "split"))
    frame = assignment(made)
    frame.loc[10, "subset"] = "val" if frame["subset"][10] != "val" else "test"
    put(made, frame)
    write_json(made / "split/summary.json", {**read_json(made / "split/summary.json"), "seed": 2})
    assert judge(made, "split").numbers["moved"] == 0


@pytest.mark.parametrize("fault", ["altered", "missing", "left over"])
def test_a_shard_that_is_not_vouched_for_stops(made: World, fault: str) -> None:
    file = made / "shards/val/part-00000.tfrecord"
    if fault == "altered":
        file.write_bytes(file.read_bytes()[:-1] + b"\0")
    elif fault == "missing":
        file.unlink()
    else:
        (made / "shards/val/part-00009.tfrecord").write_bytes(file.read_bytes())
    name = "val/part-00009.tfrecord" if fault == "left over" else "val/part-00000.tfrecord"
    verdict = judge(made, "shard")
    assert failures(verdict) == {(MANIFEST, "sha256"): [name]}
    assert verdict.skipped  # altered bytes are not read


def test_a_missing_manifest_stops(made: World) -> None:
    (made / "shards" / MANIFEST).unlink()
    assert (MANIFEST, "sha256") in failures(judge(made, "shard"))


def test_shard_names_rows_lost_doubled_and_in_another_subset(made: World) -> None:
    rows = shards(made)
    rows.loc[1, "subset"] = "test"
    rows.loc[2, "image_id"] = rows.loc[3, "image_id"]
    reshard(made, rows)
    lost, other, doubled = made_ids(made, 2), made_ids(made, 1), made_ids(made, 3)
    found = failures(judge(made, "shard"))
    for form in ("parquet", "tfrecord"):
        assert found[(f"{form} beside assignment", "subset_assigned")] == sorted({lost, other, doubled})
    assert found[("shards", "image_id")] == [doubled]


def made_ids(made: World, index: int) -> str:
    return str(assignment(made)["image_id"][index])


def test_shard_names_labels_that_are_no_codes_or_missing(made: World) -> None:
    rows = shards(made)
    rows.loc[5, "gender"], rows.loc[6, "race"], rows.loc[7, "age"] = 2, 5, 117
    rows.loc[8, "age"] = pd.NA
    reshard(made, rows)
    found = failures(judge(made, "shard", labels={**LABELS, "known": {"age": 0.99}}))
    assert found == {
        ("shards", "age"): [made_ids(made, 7)],
        ("shards", "gender"): [made_ids(made, 5)],
        ("shards", "race"): [made_ids(made, 6)],
        ("shards, labels", "age"): [made_ids(made, 8)],
    }


def told(made: World, **changes: Any) -> None:
    """Let the manifest of the shards say something else."""
    manifest = {**read_json(made / "shards" / MANIFEST), **changes}
    write_json(made / "shards" / MANIFEST, {name: value for name, value in manifest.items() if value is not None})


@pytest.mark.parametrize("form", ["parquet", "tfrecord"])
def test_shard_names_crops_without_bytes_or_of_another_size(made: World, form: str) -> None:
    rows = shards(made)
    rows.loc[5, "bytes"] = b""
    rows.loc[6, "bytes"] = encode_png(np.zeros((8, 16, 3), np.uint8))
    reshard(made, rows, (form,))
    empty, small = made_ids(made, 5), made_ids(made, 6)
    assert failures(judge(made, "shard")) == {
        ("crops", "crop_bytes"): [empty],
        ("crops", "crop_width"): [empty],
        ("crops", "crop_height"): sorted([empty, small]),
    }


@pytest.mark.parametrize("form", ["parquet", "tfrecord"])
def test_raw_crops_have_three_bytes_a_pixel(made: World, form: str) -> None:
    rows = shards(made)
    rows["bytes"] = [bytes(SIDE * SIDE * 3)] * len(rows)
    reshard(made, rows, (form,))
    told(made, pixels="raw")
    assert judge(made, "shard").success
    rows.loc[5, "bytes"] = bytes(SIDE * SIDE)
    reshard(made, rows, (form,))
    told(made, pixels="raw")
    assert failures(judge(made, "shard")) == {("crops", "crop_bytes"): [made_ids(made, 5)]}


@pytest.mark.parametrize(("name", "columns"), [("pixels", {"pixels"}), ("crop_size", {"side", "crop_width"})])
def test_a_manifest_that_does_not_tell_what_crops_are_stops(made: World, name: str, columns: set[str]) -> None:
    told(made, **{name: None})
    found = failures(judge(made, "shard"))
    assert {table for table, _ in found} == {"crops"}
    assert columns <= {str(column) for _, column in found}


def test_formats_that_differ_stop(made: World, tmp_path: Path) -> None:
    other = made.copy(tmp_path / "other")
    rows = shards(made)
    rows.loc[5, "age"] += 1
    reshard(other, rows)
    manifest, theirs = (read_json(each / "shards" / MANIFEST) for each in (made, other))
    for place, entry in enumerate(theirs["files"]):
        if entry["format"] == "tfrecord":
            manifest["files"][place] = entry
            (made / "shards" / entry["file"]).write_bytes((other / "shards" / entry["file"]).read_bytes())
    write_json(made / "shards" / MANIFEST, manifest)
    assert failures(judge(made, "shard")) == {("formats", "age"): [made_ids(made, 5)]}


@pytest.mark.parametrize("form", ["parquet", "tfrecord"])
def test_one_format_is_enough(made: World, form: str) -> None:
    reshard(made, shards(made), (form,))
    assert failures(judge(made, "shard")) == {}


def test_shard_holds_the_manifest_to_its_rows(made: World) -> None:
    manifest: dict[str, Any] = read_json(made / "shards" / MANIFEST)
    manifest["rows"]["test"] += 1
    write_json(made / "shards" / MANIFEST, manifest)
    assert failures(judge(made, "shard")) == {("subsets", "rows"): ["test"]}


def test_a_column_of_a_shard_that_is_missing_stops(made: World) -> None:
    file = made / "shards/test/part-00000.parquet"
    drop_column(file, "race")
    manifest: dict[str, Any] = read_json(made / "shards" / MANIFEST)
    entry = next(entry for entry in manifest["files"] if entry["file"] == "test/part-00000.parquet")
    entry["sha256"] = sha256_file(file)
    write_json(made / "shards" / MANIFEST, manifest)
    verdict = judge(made, "shard")
    assert failures(verdict) == {("test/part-00000.parquet, columns", None): []}
    assert verdict.skipped
