"""Planted wrong labels are found on top; what is found reads as a table of overrides."""

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from faceline.datasets.labels import TARGETS
from faceline.datasets.sources.extras import read_overrides
from faceline.datasets.tables import OUT_OF_FOLD, SUSPECTS
from faceline.evaluation.suspects import SuspectSettings, proposals, suspects, told
from tests.builders import table

SETTINGS = SuspectSettings(age_error=2.0, most=50)
COUNT = 600
WRONG: dict[str, list[int]] = {"age": [3, 50, 99], "gender": [7, 50, 120, 333], "race": [11, 120, 444]}


def predictions(**changes: Any) -> pa.Table:
    """Good answers for random people; the labels of WRONG are other ones."""
    random = np.random.default_rng(1)
    truth = {"age": random.integers(20, 60, COUNT), "gender": random.integers(2, size=COUNT)}
    truth["race"] = random.integers(5, size=COUNT)
    labels = {name: codes.copy() for name, codes in truth.items()}
    labels["age"][WRONG["age"]] += 40
    labels["gender"][WRONG["gender"]] ^= 1
    labels["race"][WRONG["race"]] = (labels["race"][WRONG["race"]] + 1) % 5
    sure = random.uniform(0.8, 0.99, COUNT)
    rest = (1 - random.uniform(0.7, 0.9, COUNT)) / 4
    sure[WRONG["gender"]], rest[WRONG["race"]] = 0.97, 0.03  # an answer less sure than usual makes no label suspect
    answers = {
        "image_id": [f"{row:03}" for row in range(COUNT)],
        "age_predicted": truth["age"] + random.normal(0, 3, COUNT),
        "female_probability": np.where(truth["gender"] == 1, sure, 1 - sure),
        "race_probabilities": [
            [1 - 4 * low if code == race else low for code in range(5)]
            for low, race in zip(rest, truth["race"], strict=True)
        ],
    }
    bounds = {"age_low": answers["age_predicted"] - 6, "age_high": answers["age_predicted"] + 6}
    return table(pd.DataFrame({**answers, **bounds, **labels, "fold": 0, **changes}), OUT_OF_FOLD)


def found(answered: pa.Table, settings: SuspectSettings = SETTINGS) -> pd.DataFrame:
    listed = suspects(answered, paths(), settings)
    assert listed.schema == SUSPECTS
    frame: pd.DataFrame = listed.to_pandas()
    return frame


def paths() -> "pd.Series[str]":
    return pd.Series({f"{row:03}": f"utkface/{row}.jpg" for row in range(COUNT)})


def test_planted_wrong_labels_stand_on_top() -> None:
    rows = found(predictions())
    for target in TARGETS:
        mine = rows[rows["target"] == target]
        assert mine["rank"].tolist() == list(range(1, len(mine) + 1))
        assert mine["score"].is_monotonic_increasing and mine["score"].between(0, 1).all()
        assert set(mine["image_id"].astype(int)[: len(WRONG[target])]) == set(WRONG[target]), target
        assert len(mine) <= len(WRONG[target]) + 2, target
        assert (mine["path"] == "utkface/" + mine["image_id"].astype(int).astype(str) + ".jpg").all()


def test_an_age_is_measured_by_its_own_interval() -> None:
    wide = predictions().to_pandas()
    wide.loc[3, "age_high"] += 40  # hard to tell, so 40 years are no surprise
    rows = found(pa.Table.from_pandas(wide, OUT_OF_FOLD, preserve_index=False))
    assert set(rows[rows["target"] == "age"]["image_id"].astype(int)) == {50, 99}
    strict = found(predictions(), SuspectSettings(age_error=0.5, most=5))
    assert strict[strict["target"] == "age"]["rank"].tolist() == [1, 2, 3, 4, 5]


def test_what_is_missing_is_not_suspect() -> None:
    unknown = predictions(race=None, female_probability=None, age_low=None, age_high=None)
    assert found(unknown).empty
    assert found(predictions(gender=1)).query("target == 'gender'").empty  # one code alone can't be told from another
    half = predictions().to_pandas()
    half.loc[[row for row in range(COUNT) if row % 2], "race_probabilities"] = None
    rows = found(pa.Table.from_pandas(half, OUT_OF_FOLD, preserve_index=False))
    assert set(rows[rows["target"] == "race"]["image_id"].astype(int)) >= {120, 444}


def test_reviewed_rows_judge_and_are_not_listed() -> None:
    listed = suspects(predictions(), paths().drop("050"), SETTINGS).to_pandas()
    assert "050" not in set(listed["image_id"]) and "099" in set(listed["image_id"])


def test_proposals_are_overrides(tmp_path: Path) -> None:
    listed = suspects(predictions(), paths(), SETTINGS)
    rows = proposals(listed).set_index("path")
    assert len(rows) == len(set(listed["path"].to_pylist()))
    gender = rows.loc["utkface/7.jpg"]
    answer = predictions()["female_probability"][7].as_py() >= 0.5
    assert (gender["action"], gender["gender"]) == ("set", int(answer)) and pd.isna(gender["age"])
    assert rows.loc["utkface/3.jpg", "action"] == "reject"  # an answer in years is no label
    both = rows.loc["utkface/50.jpg"]
    assert both["action"] == "reject" and pd.isna(both["gender"])
    assert both["note"].startswith("suspect_label: ") and "age label" in both["note"] and "gender label" in both["note"]
    codes = rows.loc["utkface/120.jpg"]
    assert codes["action"] == "reject" and pd.isna(codes["gender"]) and pd.isna(codes["race"])
    rows.reset_index().to_csv(tmp_path / "suspects.csv", index=False)
    overrides = read_overrides(tmp_path / "suspects.csv").to_pylist()
    assert {row["path"]: row["gender"] for row in overrides}["utkface/7.jpg"] == int(answer)
    assert len(overrides) == len(rows)
    assert list(proposals(SUSPECTS.empty_table())) == ["path", "action", *TARGETS, "note", "image_id", "score"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"target": "age", "label": 34, "predicted": 61.24}, ("label 34", "predicted 61.2")),
        ({"target": "race", "label": 4, "predicted": 0.0}, ("label other", "predicted white")),
    ],
)
def test_a_suspect_in_words(row: dict[str, Any], words: tuple[str, str]) -> None:
    assert told(row) == words


def test_nothing_is_printed_and_cleanlab_comes_only_when_needed() -> None:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        found(predictions())
    assert out.getvalue() == err.getvalue() == ""
    code = "import faceline.crossvalidate, faceline.evaluation.page, sys; sys.exit('cleanlab' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
