"""The split: groups stay together, shares come out, and old rows stay where they are."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from faceline.datasets.splitting import SplitSettings, assign
from faceline.errors import SettingsError
from faceline.params import parse_settings

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


def test_a_subject_and_its_near_twins_stay_together() -> None:
    rows = pictures(400)
    rows.loc[:199, "subject"] = [f"s{index // 4}" for index in range(200)]
    rows.loc[300, ["phash", "thumbnail"]] = rows.loc[0, ["phash", "thumbnail"]]  # a twin of subject s0 without a name
    assignment = assign(rows, settings()).set_index("image_id").loc[rows["image_id"]].reset_index()
    for start in range(0, 200, 4):
        assert assignment.loc[start : start + 3, ["group", "subset", "fold"]].drop_duplicates().shape[0] == 1
    assert assignment.loc[300, "group"] == assignment.loc[0, "group"]
    assert assignment["group"].nunique() == 50 + 199


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
