"""Conformal p-values beside a count by hand and beside all scores; the rate of small ones where statements are true."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from faceline.learning.card import ScoreBand
from faceline.learning.conformal import (
    BAND_ROWS,
    STEP,
    age_scores,
    gender_scores,
    nonconformity,
    p_values,
    score_bands,
)


def answers(ages: Any, half_width: Any, female: Any) -> Any:
    """What a bundle answers."""
    years = np.asarray(ages, np.float32)
    return SimpleNamespace(
        age=years, age_high=years + np.float32(half_width), female_probability=np.asarray(female, np.float32)
    )


def by_hand(calibration: np.ndarray, score: float) -> float:
    return ((calibration >= score).sum() + 1) / (len(calibration) + 1)


def test_a_p_value_counts_the_scores_as_high_and_the_statement_itself() -> None:
    bands = score_bands(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9]), np.full(9, 30))
    asked = np.array([9.5, 9.0, 8.5, 5.0, 1.0, 0.5])
    assert p_values(bands, asked, np.full(6, 30)) == pytest.approx([0.1, 0.2, 0.2, 0.6, 1.0, 1.0])


def test_equal_scores_count_all() -> None:
    bands = score_bands(np.array([1.0, 2, 2, 2]), np.zeros(4))
    assert p_values(bands, np.array([2.0, 2.5, 1.5]), np.zeros(3)) == pytest.approx([4 / 5, 1 / 5, 4 / 5])


@pytest.mark.parametrize(("rows", "values"), [(4, 3), (100, 7), (300, 40), (1500, 400)])
def test_a_score_between_kept_ones_does_not_count_what_equals_the_lower_one(rows: int, values: int) -> None:
    random = np.random.default_rng(rows)
    calibration = random.integers(values, size=rows).astype(float)
    asked = np.arange(-1, values + 1, 0.5)
    found = p_values(score_bands(calibration, np.zeros(rows)), asked, np.zeros(len(asked)))
    wanted = np.array([by_hand(calibration, score) for score in asked])
    assert (found >= wanted).all()
    small = wanted <= 64 / (rows + 1)
    assert small.any() and np.array_equal(found[small], wanted[small])


def test_kept_quantiles_give_the_p_values_of_all_scores_exactly_where_they_are_small() -> None:
    random = np.random.default_rng(1)
    calibration = random.exponential(size=1500)
    (band,) = score_bands(calibration, np.zeros(1500))[:1]
    assert band.rows == 1500 and len(band.scores) < 150
    asked = random.exponential(size=3000)
    found = p_values((band,), asked, np.zeros(3000))
    wanted = np.array([by_hand(calibration, score) for score in asked])
    assert (found >= wanted).all()
    assert (found <= wanted * STEP + 1 / 1501).all()
    small = wanted <= 64 / 1501
    assert small.any() and np.array_equal(found[small], wanted[small])


@pytest.mark.parametrize("rate", [0.005, 0.01, 0.05, 0.3])
def test_true_statements_have_small_p_values_no_oftener_than_the_rate(rate: float) -> None:
    random = np.random.default_rng(2)
    shares = []
    for _ in range(1500):
        bands = score_bands(random.exponential(size=250), np.zeros(250))
        shares.append((p_values(bands, random.exponential(size=200), np.zeros(200)) <= rate).mean())
    error = 3 * np.std(shares) / np.sqrt(len(shares))
    assert rate - 1 / 251 - rate * (STEP - 1) - error <= np.mean(shares) <= rate + error


def test_the_rate_holds_in_each_band_where_one_for_everybody_would_be_exceeded_for_children() -> None:
    random = np.random.default_rng(3)
    ages = np.repeat([5, 35], 2000)
    scores = random.exponential(np.where(ages < 9, 3.0, 1.0))
    fresh = random.exponential(np.where(ages < 9, 3.0, 1.0))
    banded = p_values(score_bands(scores, ages), fresh, ages)
    everybody = p_values(score_bands(scores, np.zeros(4000)), fresh, np.zeros(4000))
    assert (everybody[ages < 9] <= 0.05).mean() > 0.08
    assert (banded[ages < 9] <= 0.05).mean() == pytest.approx(0.05, abs=0.02)
    assert (banded[ages > 9] <= 0.05).mean() == pytest.approx(0.05, abs=0.02)


def test_bands_of_few_rows_join_their_smaller_neighbour() -> None:
    ages = np.repeat([5, 15, 25, 35, 85], [250, 100, 600, BAND_ROWS, 10])
    bands = score_bands(np.ones(len(ages)), ages)
    # 80+ (10) goes to the younger side, as do the empty ones between; 9-19 (100) to 0-8, not to 20-29.
    assert [(band.youngest, band.rows) for band in bands] == [(0, 350), (20, 600), (30, BAND_ROWS + 10)]
    assert [band.rows for band in score_bands(np.ones(20), np.arange(20))] == [20]


def test_scores_are_errors_in_half_widths_and_what_the_stated_gender_lacks() -> None:
    given = answers([30, 30], [10, 5], [0.9, 0.2])
    assert age_scores(given, np.array([50, 25])) == pytest.approx([2, 1])
    assert gender_scores(given, np.array([0, 1])) == pytest.approx([0.9, 0.8])


def test_rows_without_a_label_and_targets_without_an_answer_are_left_out() -> None:
    found = nonconformity(answers([30, 40, 50], 10, [0.9, 0.5, 0.1]), np.array([-1, 40, 55]), np.array([1, -1, -1]))
    assert found.age is not None and found.gender is not None
    assert found.age[0].rows == 2 and found.age[0].scores == (0.5, 0.0)
    assert found.gender[0].rows == 1 and found.gender[0].scores == pytest.approx((0.1,))
    only = SimpleNamespace(age=None, female_probability=np.array([0.9, 0.8], np.float32))
    without: Any = only
    found = nonconformity(without, np.array([-1, -1]), np.array([1, 1]))
    assert found.age is None and found.gender is not None and found.gender[0].rows == 2


@pytest.mark.parametrize(
    "changes", [{"scores": (1.0, 2.0)}, {"ranks": (2, 1)}, {"ranks": (1, 9)}, {"ranks": (1,)}, {"rows": 0}]
)
def test_a_card_whose_scores_are_in_no_order_is_refused(changes: dict[str, Any]) -> None:
    good: dict[str, Any] = {"youngest": 0, "rows": 5, "scores": (2.0, 1.0), "ranks": (1, 3)}
    ScoreBand(**good)
    with pytest.raises(ValidationError):
        ScoreBand(**{**good, **changes})
