"""The split: groups stay together, shares come out, and old rows stay where they are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

from faceline.datasets.splitting import SplitSettings, assign, lot
from faceline.datasets.tables import ASSIGNMENT, CROPS, KEPT
from faceline.errors import SettingsError
from faceline.files import read_json, read_table, write_table
from faceline.gates.passes import write_pass
from faceline.params import parse_settings
from stages.split import main

PLAIN: dict[str, Any] = {
    "seed": 1,
    "fractions": {"train": 0.7, "val": 0.15, "test": 0.15},
    "folds": 5,
    "near_identical": {"distance": 4, "correlation": 0.98},
}


def settings(**changes: Any) -> SplitSettings:
    return parse_settings(SplitSettings, {**PLAIN, **changes}, "split")


def pictures(count: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "image_id": [f"{value:064x}" for value in rng.integers(0, 2**62, count)],
            "subject": None,
            "phash": rng.integers(0, 2**63, count, dtype=np.uint64),
            "thumbnail": [rng.integers(0, 256, 361, dtype=np.uint8).tobytes() for _ in range(count)],
        }
    ).astype({"subject": "object"})


def test_fractions_and_folds_come_out() -> None:
    assignment = assign(pictures(3000), settings())
    shares = assignment["subset"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.03)
    assert shares["val"] == pytest.approx(0.15, abs=0.03)
    assert sorted(assignment["fold"].unique()) == [0, 1, 2, 3, 4]
    assert assignment["fold"].value_counts(normalize=True).max() < 0.25
    assert pd.crosstab(assignment["subset"], assignment["fold"]).to_numpy().min() > 0  # neither follows from the other


def test_a_picture_keeps_its_subset_and_fold_for_ever() -> None:
    assert lot(1, "subset", "a" * 64) == 0.8560653716486568
    assert lot(1, "fold", "a" * 64) == 0.720008261382401


def test_a_subject_and_its_near_twins_stay_together() -> None:
    rows = pictures(400)
    rows.loc[:199, "subject"] = [f"s{index // 4}" for index in range(200)]
    rows.loc[300, ["phash", "thumbnail"]] = rows.loc[0, ["phash", "thumbnail"]]  # a twin of subject s0 without a name
    assignment = assign(rows, settings()).set_index("image_id").loc[rows["image_id"]].reset_index()
    for start in range(0, 200, 4):
        assert assignment.loc[start : start + 3, ["group", "subset", "fold"]].drop_duplicates().shape[0] == 1
    assert assignment.loc[300, "group"] == assignment.loc[0, "group"]
    assert assignment["group"].nunique() == 50 + 199
    smallest = assignment.groupby("group")["image_id"].min()
    assert smallest.tolist() == smallest.index.tolist()  # another key would move a group to another subset


def test_new_pictures_move_none_that_they_do_not_join() -> None:
    old = pictures(500)
    new = pd.concat([old, pictures(300, seed=1)], ignore_index=True)
    new.loc[500, ["phash", "thumbnail"]] = old.loc[0, ["phash", "thumbnail"]]
    before = assign(old, settings()).set_index("image_id")["subset"]
    after = assign(new, settings()).set_index("image_id")["subset"]
    moved = before.index[before != after.loc[before.index]]
    assert set(moved) <= {old.loc[0, "image_id"]}


def test_the_seed_changes_the_split_and_the_order_does_not() -> None:
    rows = pictures(200)
    first = assign(rows, settings())
    assert first.equals(assign(rows.sample(frac=1, random_state=3), settings()))
    assert not first.equals(assign(rows, settings(seed=2)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"fractions": {"train": 0.7, "val": 0.2, "test": 0.2}},
            "split.fractions = .*add up to 1.1; they must add up to 1",
        ),
        ({"fractions": {"train": 1.0, "val": 0.0, "test": 0.0}}, "split.fractions.train = 1.0"),
        ({"folds": 1}, "split.folds = 1"),
    ],
)
def test_bad_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(**changes)


def stage(folder: Path, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """The assignment that the stage makes of `rows`, all of them cropped but the last; by image_id."""
    monkeypatch.chdir(folder)
    params = {"dataset": "tiny", "recipe": "none", "recipes": {"none": {}}, "datasets": {"tiny": {"split": PLAIN}}}
    (folder / "params.yaml").write_text(json.dumps(params))
    kept = [{name: row.get(name) for name in KEPT.names} for row in rows.to_dict("records")]
    write_table(folder / "clean/kept.parquet", pa.Table.from_pylist(kept, KEPT), KEPT)
    crops = [{"image_id": image_id} for image_id in rows["image_id"][:-1]]
    for number, part in enumerate((crops[:10], crops[10:])):
        write_table(folder / f"crop/faces/part-{number:05d}.parquet", pa.Table.from_pylist(part, CROPS), CROPS)
    for name in ("clean", "crop"):
        write_pass(folder / "gates", name, folder / name)
    names = {"clean": "clean", "crop": "crop", "gates": "gates", "output": "split"}
    result = CliRunner().invoke(main, [f"--{option}={name}" for option, name in names.items()])
    assert result.exit_code == 0, result.output
    table = read_table(folder / "split/assignment.parquet")
    assert table.schema == ASSIGNMENT
    assignment: pd.DataFrame = table.to_pandas()
    return assignment.set_index("image_id")


def test_the_stage_keeps_the_pictures_of_a_subject_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pictures(60)
    alone = assign(rows, settings()).set_index("image_id").loc[rows["image_id"]].reset_index()
    apart = alone[(alone["subset"] != alone["subset"][0]) & (alone["fold"] != alone["fold"][0])]
    pair = [0, apart.index[0]]  # nothing but their subject brings these two together
    rows.loc[pair, "subject"] = "s"
    assignment = stage(tmp_path, rows, monkeypatch)
    assert set(assignment.index) == set(rows["image_id"][:-1])
    assert len(assignment.loc[rows.loc[pair, "image_id"]].drop_duplicates()) == 1
    summary = read_json(tmp_path / "split/summary.json")
    assert (summary["rows_in"], summary["groups"], summary["largest_group"]) == (59, 58, 2)
