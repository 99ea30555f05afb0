"""The gates of train and evaluate: they judge the bundle and what it answers."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from faceline.errors import BundleError, SettingsError
from faceline.files import read_json, write_json
from faceline.gates.evaluate import Limits
from faceline.learning import answering
from faceline.learning.answering import Answers
from faceline.learning.recipe import Recipe
from faceline.params import parse_settings
from tests.builders import World, spoil, summarize_predictions
from tests.judging import LIMITS, failures, judge
from tests.toys import recipe


class FakePredictor:
    """Answers as told; its crops have 8 pixels a side."""

    def __init__(self, answers: Answers, validation: dict[str, Any], settings: Recipe):
        self.answers = answers
        named = SimpleNamespace(settings=settings)
        self.card = SimpleNamespace(crop=SimpleNamespace(size=8), validation=validation, recipe=named)

    def predict_crops(self, crops: np.ndarray) -> Answers:
        assert crops.shape == (1, 8, 8, 3)
        assert crops.dtype == np.uint8
        return self.answers


def answers(**changes: Any) -> Answers:
    values = {"age": [30.0], "age_low": [20.0], "age_high": [40.0], "female_probability": [0.4]}
    values |= {"race_probabilities": [[0.2] * 5], **changes}
    return Answers(**{name: np.array(value, np.float32) for name, value in values.items()})


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the bundle load as a fake with these answers, and this validation and these settings in its card."""

    def load(given: Answers, settings: Recipe | None = None, **validation: Any) -> None:
        fake = FakePredictor(given, {"rows": 60, **validation}, settings or recipe())
        monkeypatch.setattr(answering, "CropPredictor", lambda path: fake)

    return load


def test_a_good_training_passes(good: World, loads: Any) -> None:
    loads(answers())
    verdict = judge(good, "train")
    assert failures(verdict) == {}
    assert verdict.numbers["rows"] == 6


def test_a_bundle_of_one_target_passes(good: World, loads: Any) -> None:
    loads(Answers(female_probability=np.array([0.5], np.float32)))
    assert judge(good, "train").success


def test_train_names_every_fault_of_the_history(made: World, loads: Any) -> None:
    loads(answers())
    history = pd.read_csv(made / "history.csv")
    history.loc[1, "loss"] = float("nan")
    history.loc[2, "val_loss"] = float("inf")
    history.loc[4:5, "val_loss"] = 3.9
    history.loc[5, "epoch"] = 2
    history.to_csv(made / "history.csv", index=False)
    assert failures(judge(made, "train")) == {
        ("epochs", "loss"): ["age epoch 2"],
        ("epochs", "val_loss"): ["age epoch 3"],
        ("networks", "size"): ["gender"],
        ("networks", "fall"): ["gender"],
    }


@pytest.mark.parametrize("changes", [{"heads_first": {"epochs": 2, "learning_rate": 0.001}}, {"start": "bundle"}])
def test_a_network_that_knew_its_targets_before_need_not_fall(made: World, loads: Any, changes: dict[str, Any]) -> None:
    history = pd.read_csv(made / "history.csv").assign(val_loss=2.0)
    history.to_csv(made / "history.csv", index=False)
    loads(answers())
    assert failures(judge(made, "train")) == {("networks", "fall"): ["age", "gender"]}
    loads(answers(), recipe(**changes))
    assert judge(made, "train").success


def test_a_history_without_a_column_or_an_epoch_stops(made: World, loads: Any) -> None:
    loads(answers())
    history = pd.read_csv(made / "history.csv")
    history[:0].to_csv(made / "history.csv", index=False)
    assert not judge(made, "train").success
    history.drop(columns="val_loss").to_csv(made / "history.csv", index=False)
    assert failures(judge(made, "train")) == {("history.csv", "val_loss"): []}


def test_a_bundle_that_does_not_load_stops_and_says_why(good: World) -> None:
    verdict = judge(good, "train")  # the bundle's folder is empty
    assert failures(verdict) == {("bundle", "problem"): ["bundle"]}
    assert "card.json" in verdict.failure()


@pytest.mark.parametrize("error", [BundleError("altered"), OSError("cut"), ValueError("not Keras")])
def test_any_failure_to_load_is_named(good: World, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(path: Path) -> None:
        raise error

    monkeypatch.setattr(answering, "CropPredictor", fail)
    assert str(error) in judge(good, "train").failure()


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"age": [float("nan")]}, "age"),
        ({"age": [float("inf")]}, "age"),
        ({"age": [300.0]}, "age"),
        ({"female_probability": [1.5]}, "female"),
        ({"race_probabilities": [[0.5] * 5]}, "race_total"),
        ({"race_probabilities": [[-0.2, 0.2, 0.5, 0.5, 0.0]]}, "race_lowest"),
    ],
)
def test_an_impossible_answer_stops(good: World, loads: Any, change: dict[str, Any], column: str) -> None:
    loads(answers(**change))
    assert set(failures(judge(good, "train"))) == {("answers for a blank crop", column)}


@pytest.mark.parametrize(
    ("mae", "accuracy", "failed"),
    [(4.3, 0.82, []), (4.5, 0.9, ["age"]), (3.0, 0.8, ["gender"]), (None, 0.9, [])],
)
def test_a_bundle_that_answers_worse_than_its_networks_learnt_stops(
    made: World, loads: Any, mae: float | None, accuracy: float, failed: list[str]
) -> None:
    history = pd.read_csv(made / "history.csv")  # three epochs of a network for age, then of one for gender
    history["val_age_mae"] = [9.0, 5.0, 4.0, *[np.nan] * 3]  # the last is the best, by val_loss
    history["val_gender_accuracy"] = [*[np.nan] * 3, 0.95, 0.8, 0.9]
    history.to_csv(made / "history.csv", index=False)
    loads(answers(), age={"mae": mae}, gender={"accuracy": accuracy})
    assert failures(judge(made, "train")) == ({("packed", "worse"): failed} if failed else {})


def test_a_good_model_passes(good: World) -> None:
    verdict = judge(good, "evaluate")
    assert failures(verdict) == {}
    assert verdict.numbers["rows"] == 60
    assert verdict.skipped == ()


def test_evaluate_names_every_impossible_answer(made: World) -> None:
    def answered(frame: pd.DataFrame) -> None:
        frame.loc[1, "age_predicted"] = 200
        frame.loc[2, "age_high"] = frame.loc[2, "age_low"] - 1
        frame.loc[3, "female_probability"] = -0.1
        frame.at[4, "race_probabilities"] = [0.9] * 5
        frame.loc[5, "gender"] = 3
        frame.loc[6, "image_id"] = frame.loc[7, "image_id"]
        frame.loc[8, "female_probability"] = None

    spoil(made / "evaluate/predictions.parquet", answered)
    of = made.image_id
    found = failures(judge(made, "evaluate"))
    assert {place: keys for place, keys in found.items() if place[0] == "predictions.parquet"} == {
        ("predictions.parquet", "age_predicted"): [of(1)],
        ("predictions.parquet", "interval"): [of(2)],
        ("predictions.parquet", "female_probability"): sorted([of(3), of(8)]),
        ("predictions.parquet", "race_total"): [of(4)],
        ("predictions.parquet", "gender"): [of(5)],
        ("predictions.parquet", "image_id"): [of(7)],
    }
    assert "age_mae" in found[("metrics", "gap")]  # the summary speaks of other predictions


def test_an_interval_that_is_left_out_where_it_misses_is_named(made: World) -> None:
    def leave_out(frame: pd.DataFrame) -> None:
        frame.loc[[1, 2], ["age_low", "age_high"]] = None

    spoil(made / "evaluate/predictions.parquet", leave_out)
    summarize_predictions(made)
    both = sorted([made.image_id(1), made.image_id(2)])
    assert failures(judge(made, "evaluate")) == {
        ("predictions.parquet", "age_low"): both,
        ("predictions.parquet", "age_high"): both,
    }


def test_an_interval_wider_than_all_ages_is_named(made: World) -> None:
    def widen(frame: pd.DataFrame) -> None:
        frame.loc[1, ["age_low", "age_high"]] = [-1e9, 1e9]
        frame.loc[2, ["age_low", "age_high"]] = [0, 232]

    spoil(made / "evaluate/predictions.parquet", widen)
    summarize_predictions(made)
    assert failures(judge(made, "evaluate")) == {("predictions.parquet", "interval"): [made.image_id(1)]}


def test_a_bundle_without_an_interval_passes(made: World) -> None:
    spoil(made / "evaluate/predictions.parquet", lambda frame: frame.assign(age_low=None, age_high=None))
    summarize_predictions(made)
    assert judge(made, "evaluate").success


def test_evaluate_recomputes_the_metrics(made: World) -> None:
    summary = read_json(made / "evaluate/summary.json")
    summary["metrics"]["gender"]["accuracy"] = 0.99
    write_json(made / "evaluate/summary.json", summary)
    assert failures(judge(made, "evaluate")) == {("metrics", "gap"): ["gender_accuracy"]}


def test_floors_and_ceilings(good: World) -> None:
    verdict = judge(good, "evaluate", floors={"gender_accuracy": 0.99}, ceilings={"age_mae": 1})
    assert set(failures(verdict)) == {("floors and ceilings", "gender_accuracy"), ("floors and ceilings", "age_mae")}
    assert "observed 1.2" in verdict.failure()


def test_the_constant_predictor_is_to_be_beaten(good: World) -> None:
    verdict = judge(good, "evaluate", age_mae_below_constant=0.05, accuracy_above_constant=0.9)
    name = "beside the constant predictor"
    assert set(failures(verdict)) == {(name, "age_mae"), (name, "gender_accuracy"), (name, "race_accuracy")}


def test_a_collapsed_slice_is_named(made: World) -> None:
    def answered(frame: pd.DataFrame) -> None:
        frame.loc[frame["race"] == 4, "female_probability"] = 1 - frame["female_probability"]
        frame.loc[frame["race"] == 3, ["age_predicted", "age_low", "age_high"]] += 12

    spoil(made / "evaluate/predictions.parquet", answered)
    summarize_predictions(made)
    loose = {"floors": {}, "baseline_tolerance": 1}
    found = failures(judge(made, "evaluate", **loose))
    assert found[("slices", "gender")] == ["race other"]
    assert found[("slices", "age")] == ["race indian"]
    found = failures(judge(made, "evaluate", **loose, slices={**LIMITS["evaluate"]["slices"], "min_rows": 50}))
    assert not any(table == "slices" for table, _ in found)


def test_low_coverage_stops(good: World) -> None:
    assert failures(judge(good, "evaluate", coverage=0.99)) == {("coverage", "share"): []}


def test_a_model_worse_than_the_baseline_stops(made: World) -> None:
    baseline = read_json(made / "baseline.json")
    baseline["sample"]["metrics"]["age"]["mae"] /= 1.2
    baseline["sample"]["metrics"]["gender"]["accuracy"] *= 1.2
    write_json(made / "baseline.json", baseline)
    assert set(failures(judge(made, "evaluate"))) == {
        ("beside baseline", "age_mae"),
        ("beside baseline", "gender_accuracy"),
    }
    assert judge(made, "evaluate", baseline_tolerance=0.25).success


def test_promises_are_bounded_but_not_compared_with_the_baseline(made: World) -> None:
    baseline = read_json(made / "baseline.json")
    baseline["sample"]["metrics"]["gender"]["ece"] /= 2
    write_json(made / "baseline.json", baseline)
    assert judge(made, "evaluate").success
    verdict = judge(made, "evaluate", ceilings={"gender_ece": 0.01}, floors={"age_interval_coverage": 1.0})
    assert failures(verdict).keys() == {("floors and ceilings", "gender_ece")}


def test_a_dataset_without_a_baseline_is_reported_as_skipped(made: World) -> None:
    write_json(made / "baseline.json", {"utkface": {"metrics": {}}})
    verdict = judge(made, "evaluate")
    assert verdict.success
    assert any("no entry for dataset sample" in line for line in verdict.skipped)


def test_a_target_that_is_not_answered_is_reported_as_skipped(made: World) -> None:
    spoil(made / "evaluate/predictions.parquet", lambda frame: frame.assign(female_probability=None))
    summarize_predictions(made)
    verdict = judge(made, "evaluate")
    assert verdict.success
    assert any(line.startswith("bound on gender_accuracy") for line in verdict.skipped)


def test_a_recipe_may_have_thresholds_of_its_own(good: World) -> None:
    own = {"compact": {"floors": {"gender_accuracy": 0.99}}}
    assert not judge(good, "evaluate", recipes=own).success
    assert judge(good, "evaluate", recipes={"system-d": own["compact"]}).success


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"floors": {"gender_acuracy": 0.5}}, "gender_acuracy"),
        ({"recipes": {"compact": {"coverage": 2}}}, "recipes.compact.coverage = 2"),
        ({"recipes": {"compact": {"covrage": 0.5}}}, "covrage"),
    ],
)
def test_a_setting_that_is_not_allowed_stops(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse_settings(Limits, {**LIMITS["evaluate"], **change}, "gates.evaluate")
