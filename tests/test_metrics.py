"""Metrics, slices and plots' tables against numbers worked out by hand on a dozen rows."""

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from faceline.datasets.tables import PREDICTIONS
from faceline.evaluation.crossvalidation import across_folds, frame
from faceline.evaluation.judged import Judged
from faceline.evaluation.metrics import Constants, coverage, evaluate
from faceline.evaluation.plots import PLOTS, age_errors, confusion_gender, confusion_race, cs, roc
from faceline.evaluation.reliability import reliability
from tests import answers

CONSTANTS = Constants(age_median=30.0, gender_majority=0, race_majority=0)
AGES = [5, 12, 18, 25, 25, 30, 38, 45, 52, 60, 71, 85]
ERRORS = [1, -2, 3, 0, 5, -5, 6, -7, 8, -10, -12, -15]  # predicted minus labelled
GENDERS = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
FEMALE = [0.1, 0.2, 0.3, 0.4, 0.45, 0.6, 0.7, 0.35, 0.55, 0.8, 0.9, 0.95]  # wrong: rows 5, 6 and 7
RACES = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3]
RACES_PREDICTED = [0, 0, 0, 0, 0, 1, 1, 1, 0, 2, 2, 2]


def table(**changes: Any) -> pa.Table:
    """The dozen rows, with columns replaced by `changes`."""
    columns: dict[str, Any] = {
        "image_id": [f"{row:064x}" for row in range(12)],
        "group": [None] * 12,
        "age": AGES,
        "gender": GENDERS,
        "race": RACES,
        "age_predicted": [age + error for age, error in zip(AGES, ERRORS, strict=True)],
        "age_low": [age + error - 6 for age, error in zip(AGES, ERRORS, strict=True)],
        "age_high": [age + error + 6 for age, error in zip(AGES, ERRORS, strict=True)],
        "female_probability": FEMALE,
        "race_probabilities": [[0.6 if code == race else 0.1 for code in range(5)] for race in RACES_PREDICTED],
        **changes,
    }
    return pa.table(columns, PREDICTIONS)


def test_age_by_hand() -> None:
    age = evaluate(table(), CONSTANTS)["age"]
    assert age["mae"] == round(74 / 12, 6)
    assert age["rmse"] == round(math.sqrt(682 / 12), 6)
    assert age["cs5"] == 0.5  # 1 2 3 0 5 5: five years is still close
    assert (age["q25"], age["q50"], age["q75"], age["max"]) == (2.75, 5.5, 8.5, 15)
    assert age["bias"] == round(-28 / 12, 6)
    assert age["interval_coverage"] == round(7 / 12, 6)  # 6 years is still inside
    assert age["interval_width"] == 12


def test_gender_by_hand() -> None:
    gender = evaluate(table(), CONSTANTS)["gender"]
    assert gender["accuracy"] == 0.75
    assert gender["precision"] == {"male": round(5 / 6, 6), "female": round(4 / 6, 6)}
    assert gender["recall"] == {"male": round(5 / 7, 6), "female": 0.8}
    assert gender["f1"] == round(8 / 11, 6)
    assert gender["auc"] == round(29 / 35, 6)  # of 7 x 5 pairs, .35 is below four men and .55 below two


def test_race_by_hand() -> None:
    race = evaluate(table(), CONSTANTS)["race"]
    assert race["accuracy"] == 0.75
    f1 = (10 / 12 + 4 / 6 + 4 / 5 + 0) / 4  # white, black, asian, indian; "other" is nowhere
    assert race["macro_f1"] == round(f1, 6)


def test_an_answer_of_a_race_that_nobody_has_is_no_class_of_its_own() -> None:
    answers = [[0.6 if code == race else 0.1 for code in range(5)] for race in [4, *RACES_PREDICTED[1:]]]
    race = evaluate(table(race_probabilities=answers), CONSTANTS)["race"]
    assert race["macro_f1"] == round((8 / 11 + 4 / 6 + 4 / 5 + 0) / 4, 6)


def test_baseline_judges_the_constants_on_the_same_rows() -> None:
    baseline = evaluate(table(), CONSTANTS)["baseline"]
    errors = [abs(age - 30) for age in AGES]
    assert baseline["age"]["mae"] == round(sum(errors) / 12, 6)
    assert baseline["age"]["rmse"] == round(math.sqrt(sum(error**2 for error in errors) / 12), 6)
    assert baseline["age"]["cs5"] == 0.25
    assert baseline["gender"] == {"accuracy": round(7 / 12, 6)}
    assert baseline["race"] == {"accuracy": 0.5}


def test_slices_are_formed_by_the_labels_and_counted() -> None:
    slices = evaluate(table(), CONSTANTS)["slices"]
    assert list(slices["age"]) == ["0-8", "9-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70-79", "80+"]
    assert slices["age"]["30-39"] == {
        "age": {"mae": 5.5, "bias": 0.5, "n": 2, "interval_coverage": 1.0, "interval_width": 12},
        "gender": {"accuracy": 0.0, "n": 2},
        "race": {"accuracy": 0.5, "n": 2},
    }
    women = {"mae": 10.4, "bias": -7.2, "n": 5, "interval_coverage": 0.0, "interval_width": 12}
    assert slices["gender"]["female"]["age"] == women
    assert slices["race"]["indian"]["race"] == {"accuracy": 0.0, "n": 1}
    assert "other" not in slices["race"]


def test_crossings_are_of_two_labels() -> None:
    crossings = evaluate(table(), CONSTANTS)["crossings"]
    assert list(crossings) == ["gender, race", "gender, age", "race, age"]
    assert list(crossings["gender, race"]) == [
        "male, white",
        "male, black",
        "female, black",
        "female, asian",
        "female, indian",
    ]
    assert crossings["gender, race"]["male, white"]["gender"] == {"accuracy": round(5 / 6, 6), "n": 6}
    assert crossings["race, age"]["white, 20-29"]["age"]["mae"] == 2.5
    for groups in crossings.values():
        assert sum(scores["age"]["n"] for scores in groups.values()) == 12


def test_headlines_have_intervals_if_rows_are_enough() -> None:
    few = evaluate(table(), CONSTANTS)
    assert not {"mae_low", "rmse_low"} & few["age"].keys()
    many = evaluate(pa.concat_tables([table()] * 20), CONSTANTS)
    for target, name in (("age", "mae"), ("age", "rmse"), ("gender", "accuracy"), ("race", "accuracy")):
        low, value, high = (many[target][key] for key in (f"{name}_low", name, f"{name}_high"))
        assert low < value < high
    deviation = math.sqrt(0.75 * 0.25 / 240)  # of the share of 240 answers
    assert many["gender"]["accuracy_high"] - many["gender"]["accuracy_low"] == pytest.approx(
        2 * 1.96 * deviation, rel=0.1
    )
    errors = [abs(error) for error in ERRORS]
    deviation = math.sqrt(sum((error - 74 / 12) ** 2 for error in errors) / 12 / 240)
    assert many["age"]["mae_high"] - many["age"]["mae_low"] == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_pictures_of_one_group_are_drawn_together() -> None:
    rows = np.arange(480)
    right = [0.9 if row // 4 % 4 == 0 else 0.1 for row in rows]  # four pictures of a person: all right or all wrong
    whole = pa.concat_tables([table(gender=[1] * 12)] * 40)
    whole = whole.set_column(8, PREDICTIONS.field("female_probability"), pa.array(right, pa.float32()))
    by_size = {
        size: whole.set_column(1, PREDICTIONS.field("group"), pa.array((rows // size).astype(str))) for size in (4, 16)
    }
    alone, together, few = (evaluate(each, CONSTANTS)["gender"] for each in (whole, *by_size.values()))
    assert alone["accuracy"] == together["accuracy"] == 0.25
    widths = [found["accuracy_high"] - found["accuracy_low"] for found in (alone, together)]
    assert widths[1] / widths[0] == pytest.approx(2, rel=0.1)  # a quarter of the draws, so twice the deviation
    assert "accuracy_low" in few  # thirty groups
    fewer = whole.slice(0, 464).set_column(1, PREDICTIONS.field("group"), by_size[16]["group"].slice(0, 464))
    assert "accuracy_low" not in evaluate(fewer, CONSTANTS)["gender"]


@pytest.mark.parametrize(
    ("probability", "bounds"), [(0.9, (0.025 ** (1 / 40), 1.0)), (0.1, (0.0, 1 - 0.025 ** (1 / 40)))]
)
def test_a_share_of_all_or_none_has_the_exact_interval_of_its_groups(
    probability: float, bounds: tuple[float, float]
) -> None:
    """That all of n are right has a probability of 2.5 % where the share is the n-th root of .025."""
    rows = 80
    groups, women = [str(row // 2) for row in range(rows)], {"gender": [1] * rows, "age_predicted": [30.0] * rows}
    found = evaluate(
        answers.predictions(rows, group=groups, female_probability=[probability] * rows, **women), CONSTANTS
    )
    low, high = (found["gender"][f"accuracy_{end}"] for end in ("low", "high"))
    assert (low, high) == pytest.approx(bounds, abs=1e-6)
    assert (found["age"]["mae_low"], found["age"]["mae_high"]) == (0, 0)  # years are no share


def test_calibration_by_hand() -> None:
    metrics = evaluate(table(), CONSTANTS, {"gender": 0.5})
    # White, black, asian: answered with 60 %, of twelve nine are right; all in one bin.
    assert metrics["race"]["ece"] == pytest.approx(0.15, abs=1e-6)
    assert metrics["race"]["nll"] == pytest.approx(-(9 * math.log(0.6) + 3 * math.log(0.1)) / 12, abs=1e-6)
    assert "uncalibrated" not in metrics["race"]
    given = [p if label else 1 - p for p, label in zip(FEMALE, GENDERS, strict=True)]
    assert metrics["gender"]["nll"] == pytest.approx(-sum(map(math.log, given)) / 12, abs=1e-5)
    before = [math.sqrt(p) / (math.sqrt(p) + math.sqrt(1 - p)) for p in given]
    assert metrics["gender"]["uncalibrated"]["nll"] == pytest.approx(-sum(map(math.log, before)) / 12, abs=1e-5)


def test_what_was_said_before_a_temperature_is_as_sure_as_it_was() -> None:
    """The square of odds of 1 to 999,999 is beyond 1e-7, where the logarithm of a loss is cut off."""
    metrics = evaluate(table(gender=[1] * 12, female_probability=[1e-12] * 12), CONSTANTS, {"gender": 0.5})
    assert metrics["gender"]["uncalibrated"]["nll"] == pytest.approx(-math.log(1e-6), rel=1e-5)


def test_reliability_bins_hold_their_upper_edge() -> None:
    probabilities = np.array([[0.2, 0.8], [0.25, 0.75], [0.0, 1.0], [1.0, 0.0]])
    found = reliability(probabilities, np.array([1.0, 0.0, 1.0, 1.0]))
    assert found.rows.tolist() == [2, 2]  # 0.8 is the edge of 11 / 15 to 12 / 15
    assert found.confidence.tolist() == [0.775, 1.0]
    assert found.accuracy.tolist() == [0.5, 0.5]
    assert found.error == pytest.approx((0.275 + 0.5) / 2)


def test_a_probability_of_a_half_is_the_same_answer_to_calibration_as_to_accuracy() -> None:
    gender = evaluate(table(female_probability=[0.5, 0.53125] * 6, gender=[1] * 12), CONSTANTS)["gender"]
    assert gender["accuracy"] == 1
    assert gender["ece"] == pytest.approx(1 - (0.5 + 0.53125) / 2, abs=1e-6)  # one bin, all of it right


def test_the_cumulative_score_counts_what_is_within() -> None:
    curve = cs(Judged.of(table())).set_index("years")["share"]
    assert len(curve) == 21
    assert (curve[0], curve[5], curve[6], curve[20]) == (round(1 / 12, 4), 0.5, round(7 / 12, 4), 1.0)


def test_rows_without_a_label_are_masked_for_that_target_only() -> None:
    ages = [None, *AGES[1:]]
    genders = [*GENDERS[:5], None, *GENDERS[6:]]
    metrics = evaluate(table(age=ages, gender=genders), CONSTANTS)
    assert metrics["rows"] == 12
    assert metrics["age"]["mae"] == round(73 / 11, 6)
    assert metrics["gender"]["accuracy"] == round(9 / 11, 6)
    assert metrics["race"]["accuracy"] == 0.75
    assert "0-8" not in metrics["slices"]["age"]
    assert metrics["slices"]["gender"]["male"]["gender"]["n"] == 6
    assert metrics["slices"]["age"]["30-39"]["gender"]["n"] == 1


def test_a_target_that_the_bundle_lacks_is_absent() -> None:
    none = [None] * 12
    metrics = evaluate(table(age_predicted=none, age_low=none, age_high=none, race_probabilities=none), CONSTANTS)
    assert "age" not in metrics
    assert "race" not in metrics
    assert set(metrics["baseline"]) == {"gender"}
    assert set(metrics["slices"]["race"]["white"]) == {"gender"}


@pytest.mark.parametrize(
    "predictions",
    [
        table(),
        table(gender=[0] * 12),
        table(gender=[1] * 12, female_probability=[0.1] * 12),
        table(age_low=[None] * 12, age_high=[None] * 12),
        table(age=[None] * 12, gender=[None] * 12, race=[None] * 12),
        table().slice(0, 0),
    ],
    ids=["whole", "one gender", "never right", "no interval", "no labels", "no rows"],
)
def test_nothing_is_nan(predictions: pa.Table) -> None:
    json.dumps(evaluate(predictions, CONSTANTS), allow_nan=False)


def test_what_one_gender_does_not_define_is_left_out() -> None:
    gender = evaluate(table(gender=[0] * 12), CONSTANTS)["gender"]
    assert "auc" not in gender
    assert gender["recall"] == {"male": 0.5}
    assert gender["precision"] == {"male": 1.0, "female": 0.0}


def test_without_a_constant_there_is_no_baseline_for_it() -> None:
    assert set(evaluate(table(), Constants(age_median=30.0))["baseline"]) == {"age"}


def test_the_mean_of_folds_has_no_bounds() -> None:
    """The mean of intervals is no interval of the mean."""
    whole = pa.concat_tables([table()] * 5)
    found = across_folds({0: whole, 1: whole.slice(0, 48)})
    assert all("mae_low" in fold["age"] and "accuracy_high" in fold["gender"] for fold in found["folds"])
    paths = frame(found)["metric"].tolist()
    assert {"age.mae", "age.interval_width", "gender.recall.male", "race.accuracy"} <= set(paths)
    assert not [path for path in paths if path.endswith(("_low", "_high"))]
    assert found["sd"]["age"].keys() == found["mean"]["age"].keys()


def test_coverage_tells_detection_from_label_rules() -> None:
    assert coverage(readable=1000, cleaned=800, judged=760) == {
        "readable": 1000,
        "cleaned": 800,
        "judged": 760,
        "share": 0.95,
        "label_rules": 0.8,
    }
    assert coverage(0, 0, 0)["share"] == 0.0


def test_a_confusion_plot_has_a_hundred_rows_a_label() -> None:
    rows = confusion_gender(Judged.of(table())).value_counts().to_dict()
    assert rows == {("male", "male"): 71, ("male", "female"): 29, ("female", "female"): 80, ("female", "male"): 20}
    races = confusion_race(Judged.of(table()))
    assert races["actual"].value_counts().to_dict() == {"white": 100, "black": 100, "asian": 100, "indian": 100}
    assert set(races[races["actual"] == "indian"]["predicted"]) == {"asian"}


def test_the_roc_curve_runs_from_corner_to_corner() -> None:
    curve = roc(Judged.of(table()))
    assert curve.iloc[0].tolist() == [0.0, 0.0]
    assert curve.iloc[-1].tolist() == [1.0, 1.0]
    assert (curve["fpr"].diff().dropna() >= 0).all()


def test_errors_beyond_the_limit_are_counted_at_the_end() -> None:
    errors = age_errors(Judged.of(table(age=[*AGES[:-1], 116])))  # predicted 70
    assert errors.iloc[0].tolist() == [-39, round(1 / 12, 4)]
    assert errors["share"].sum() == pytest.approx(1, abs=1e-3)


def test_plots_stay_small_and_keep_their_columns() -> None:
    many = pa.concat_tables([table()] * 500)
    nothing = table(
        age_predicted=[None] * 12, female_probability=[None] * 12, race_probabilities=[None] * 12, gender=[None] * 12
    )
    for name, plot in PLOTS.items():
        full, empty = plot(Judged.of(many)), plot(Judged.of(nothing))
        assert 0 < len(full) <= 500, name
        assert len(empty) == 0, name
        assert list(empty.columns) == list(full.columns), name
