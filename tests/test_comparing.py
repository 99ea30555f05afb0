"""The paired comparison against numbers worked out by hand, the binomial distribution and SciPy's bootstrap."""

import tracemalloc
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from faceline.datasets.tables import PREDICTIONS
from faceline.errors import SettingsError, SourceError
from faceline.evaluation import bootstrap
from faceline.evaluation.bootstrap import Bootstrap
from faceline.evaluation.comparing import Comparison, Difference, compare
from tests.answers import ROWS, predictions, wrong_genders, wrong_races

NULLS = [None] * ROWS
# Years off by 4, 4, 2, 2 and by 1, 3, 2, 0; gender wrong in 10 and in 4 rows; race in none and in 20.
A = predictions(age_predicted=[34, 26, 32, 32] * 10, female_probability=wrong_genders(10))
B = predictions(
    age_predicted=[31, 27, 32, 30] * 10, female_probability=wrong_genders(4), race_probabilities=wrong_races(20)
)


def by_target(a: pa.Table, b: pa.Table, **settings: Any) -> dict[str, Difference]:
    return {difference.target: difference for difference in compare(a, b, **settings).differences}


def difference(low: float, high: float, target: str = "gender", signs: tuple[int, int] | None = None) -> Difference:
    """With many signs on the side of its interval, unless wins and losses are given."""
    wins, losses = signs or ((60, 20) if (low > 0) != (target == "age") else (20, 60))
    return Difference(target, 0.5, 0.5, 0.0, low, high, 0.9, wins, losses, 100, 100, 0)


def comparison(*differences: Difference) -> Comparison:
    return Comparison(100, 100, 100, Bootstrap(1, 1, 0.9), differences)


def test_metrics_by_hand() -> None:
    found = by_target(A, B)
    assert list(found) == ["age", "gender", "race"]
    assert [item.metric for item in found.values()] == ["age_mae", "gender_accuracy", "race_accuracy"]
    assert (found["age"].a, found["age"].b, found["age"].difference) == (3.0, 1.5, -1.5)
    assert (found["gender"].a, found["gender"].b) == (0.75, 0.9)
    assert found["gender"].difference == pytest.approx(0.15)
    assert (found["race"].a, found["race"].b, found["race"].difference) == (1.0, 0.5, -0.5)
    assert [item.verdict for item in found.values()] == ["better", "better", "worse"]
    assert [(item.rows, item.conflicts) for item in found.values()] == [(40, 0)] * 3


@pytest.mark.parametrize(("level", "bounds"), [(0.95, (14, 26)), (0.8, (16, 24))])
def test_the_interval_of_a_share_is_binomial(level: float, bounds: tuple[int, int]) -> None:
    """Of 40 rows B gains 20: a draw's gain is binomial, and its quantiles are in every table."""
    assert tuple(stats.binom.ppf([(1 - level) / 2, (1 + level) / 2], 40, 0.5)) == bounds
    gender = by_target(predictions(female_probability=wrong_genders(20)), predictions(), samples=20_000, level=level)[
        "gender"
    ]
    assert (round(40 * gender.low, 9), round(40 * gender.high, 9)) == bounds


def test_the_interval_is_that_of_scipy() -> None:
    generator = np.random.default_rng(5)
    hard = generator.exponential(6, 200)  # what both find hard, so that pairs matter
    ours, other = (30 + hard + generator.normal(0, 1, 200) for _ in range(2))
    ids = [f"{row:064x}" for row in range(200)]
    tables = (predictions(200, image_id=ids, age_predicted=answers) for answers in (ours, other))
    age = by_target(*tables, samples=20_000)["age"]

    def gain(a: Any, b: Any, axis: int) -> Any:
        return b.mean(axis=axis) - a.mean(axis=axis)

    errors = (np.abs(ours - 30), np.abs(other - 30))
    expected = stats.bootstrap(
        errors, gain, paired=True, n_resamples=20_000, method="percentile", rng=8
    ).confidence_interval
    width = expected.high - expected.low
    assert (age.low, age.high) == pytest.approx((expected.low, expected.high), abs=0.03 * width)
    alone = stats.bootstrap(errors, gain, n_resamples=2000, method="percentile", rng=8).confidence_interval
    assert width < (alone.high - alone.low) / 3  # measured apart, the two would show far less


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(2)
    repetitions, held = 400, 0
    for seed in range(repetitions):
        low, high = Bootstrap(400, seed, 0.95).interval(generator.normal(0.3, 1, 100), np.arange(100))
        held += low <= 0.3 <= high
    assert 0.91 < held / repetitions < 0.98


def test_intervals_of_groups_hold_the_truth_as_often_as_they_say() -> None:
    """60 people with one to seven pictures each, whose errors are mostly the person's."""
    generator = np.random.default_rng(2)
    repetitions, held = 400, np.zeros(2)
    for seed in range(repetitions):
        groups = np.repeat(np.arange(60), generator.integers(1, 8, 60))
        values = 0.3 + generator.normal(0, 1, 60)[groups] + generator.normal(0, 0.3, len(groups))
        intervals = [Bootstrap(400, seed, 0.95).interval(values, each) for each in (groups, np.arange(len(groups)))]
        held += [low <= 0.3 <= high for low, high in intervals]
    of_groups, of_rows = held / repetitions
    assert 0.91 < of_groups < 0.98
    assert of_rows < 0.8


def test_groups_of_one_row_are_the_plain_bootstrap_to_the_bit() -> None:
    values, generator = np.random.default_rng(3).normal(size=77), np.random.default_rng(1)
    means = values[generator.integers(77, size=(200, 77))].mean(axis=1)
    found = Bootstrap(200, 1, 0.9).interval(values, np.arange(77) * 5)
    assert found == tuple(np.quantile(means, ((1 - 0.9) / 2, 1 - (1 - 0.9) / 2)))


def test_the_interval_of_groups_is_the_ratio_of_what_is_drawn() -> None:
    """Of two groups, one row of 4 and three of 0, a draw has only the first, only the second, or both: 4, 0 or 1."""
    low, high = Bootstrap(2000, 1, 0.3).interval(np.array([0.0, 4.0, 0.0, 0.0]), np.array([7, 2, 7, 7]))
    assert (low, high) == (0.0 + 1.0, 1.0)
    assert Bootstrap(2000, 1, 0.9).interval(np.array([0.0, 4.0, 0.0, 0.0]), np.array([7, 2, 7, 7])) == (0.0, 4.0)


def test_groups_are_those_of_a_else_of_b_else_rows_stand_alone() -> None:
    pairs, threes = (predictions(group=[str(row // size) for row in range(ROWS)])["group"] for size in (2, 3))
    place, field = PREDICTIONS.get_field_index("group"), PREDICTIONS.field("group")
    older = A.drop_columns("group")
    for a, b, groups in (
        (A, B, 40),
        (older, B.drop_columns("group"), 40),
        (older, B.set_column(place, field, pairs), 20),
        (A, B.set_column(place, field, pairs), 20),
        (A.set_column(place, field, threes), B.set_column(place, field, pairs), 14),
        (A.set_column(place, field, threes), B.drop_columns("group"), 14),
    ):
        assert {(item.rows, item.groups) for item in compare(a, b).differences} == {(40, groups)}
    assert compare(older, B) == compare(A, B)
    few = by_target(predictions(female_probability=wrong_genders(20), group=pairs), predictions())["gender"]
    assert few.low > 0 and few.verdict == "no difference shown"  # 40 rows, but 20 groups


def test_rows_are_paired_by_image_id_in_any_order() -> None:
    backwards = B.take(list(reversed(range(ROWS))))
    assert compare(A, backwards) == compare(A, B)
    assert compare(A.take(np.random.default_rng(1).permutation(ROWS)), backwards) == compare(A, B)


def test_rows_of_one_table_alone_are_counted_but_not_compared() -> None:
    found = compare(A.slice(0, 35), B.slice(4))
    assert (found.rows_a, found.rows_b, found.common) == (35, 36, 31)
    assert {item.rows for item in found.differences} == {31}
    assert found.differences[1].a == pytest.approx(25 / 31)  # A is wrong in rows 4 to 9
    assert found.differences[1].b == 1.0


def test_a_row_without_label_or_answer_is_left_out_for_that_target_only() -> None:
    genders = [None, None, *predictions()["gender"].to_pylist()[2:]]
    ages = [None, None, None, *[30] * 36, None]
    first = predictions(gender=genders, female_probability=wrong_genders(10))
    second = predictions(gender=genders, female_probability=wrong_genders(4), age_predicted=ages)
    found = by_target(first, second)
    assert {name: item.rows for name, item in found.items()} == {"age": 36, "gender": 38, "race": 40}
    assert found["gender"].a == pytest.approx(30 / 38)
    assert {item.conflicts for item in found.values()} == {0}  # what neither table labels is no conflict


def test_a_row_whose_labels_differ_is_left_out_for_that_target_and_counted() -> None:
    ages = [31, 32, None, *[30] * 37]
    found = by_target(A, predictions(age=ages, age_predicted=[131] * 3 + [30] * 37))
    assert (found["age"].rows, found["age"].conflicts, found["age"].b) == (37, 3, 0.0)
    assert found["age"].a == pytest.approx((120 - 4 - 4 - 2) / 37)
    assert (found["gender"].rows, found["gender"].conflicts) == (40, 0)


def test_a_target_that_one_table_does_not_answer_is_named() -> None:
    found = compare(predictions(race_probabilities=NULLS), predictions(age_predicted=NULLS))
    assert [item.target for item in found.differences] == ["gender"]
    assert found.not_compared == ("age", "race")
    assert compare(A, B).not_compared == ()


def test_no_interval_depends_on_other_targets() -> None:
    without_age = predictions(age_predicted=NULLS, female_probability=wrong_genders(4))
    few = 3  # draws, so that other draws would give another interval
    assert by_target(A, without_age, samples=few)["gender"] == by_target(A, B, samples=few)["gender"]


def test_the_seed_decides_the_interval() -> None:
    assert compare(A, B, seed=4) == compare(A, B, seed=4)
    lows = {by_target(A, B, seed=seed, samples=50)["age"].low for seed in range(5)}
    assert len(lows) > 1


@pytest.mark.parametrize("cells", [1, 7 * ROWS])
def test_the_interval_does_not_depend_on_how_many_rows_are_drawn_at_once(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compare(A, B, samples=100)
    monkeypatch.setattr(bootstrap, "CELLS", cells)
    assert compare(A, B, samples=100) == whole


def test_memory_does_not_grow_with_samples() -> None:
    values = np.random.default_rng(3).normal(size=2000)
    tracemalloc.start()
    try:
        Bootstrap(5000, 1, 0.9).interval(values, np.arange(2000))  # ten million row numbers: 160 MB at once
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6


@pytest.mark.parametrize(
    ("target", "low", "high", "verdict"),
    [
        ("age", -2.0, -0.1, "better"),
        ("age", 0.1, 2.0, "worse"),
        ("gender", -0.2, -0.1, "worse"),
        ("race", 0.1, 0.2, "better"),
        ("gender", -0.1, 0.1, "no difference shown"),
        ("race", 0.0, 0.1, "no difference shown"),
        ("age", -1.0, 0.0, "no difference shown"),
    ],
)
def test_a_verdict_needs_an_interval_on_one_side_of_0(target: str, low: float, high: float, verdict: str) -> None:
    assert difference(low, high, target).verdict == verdict


@pytest.mark.parametrize(
    ("wins", "losses", "verdict"),
    [
        (4, 0, "no difference shown"),  # by chance one side or the other in one of eight cases
        (5, 0, "better"),  # in one of sixteen, at a level of 90 %
        (12, 5, "no difference shown"),
        (13, 4, "better"),
        (4, 13, "no difference shown"),  # fewer people, but more of their pictures
    ],
)
def test_a_verdict_on_accuracy_needs_the_sign_test_of_discordant_groups(wins: int, losses: int, verdict: str) -> None:
    assert difference(0.01, 0.1, "race", (wins, losses)).verdict == verdict
    assert difference(0.01, 0.1, "age", (wins, losses)).verdict == "worse"  # errors in years are not won or lost


def test_four_answers_more_are_no_difference() -> None:
    a, b = predictions(400, female_probability=wrong_genders(4, 400)), predictions(400)
    gender = by_target(a, b)["gender"]
    assert (gender.wins, gender.losses) == (4, 0)
    assert gender.low > 0 and gender.verdict == "no difference shown"
    assert by_target(a, b, level=0.8)["gender"].verdict == "better"
    back = by_target(predictions(400, female_probability=wrong_genders(9, 400)), a)["gender"]
    assert (back.wins, back.losses, back.verdict) == (5, 0, "no difference shown")
    ages = (
        predictions(400, age_predicted=[30.0] * 390 + [31.0] * 10),
        predictions(400, age_predicted=[32.0] + [30.0] * 399),
    )
    assert (by_target(*ages)["age"].wins, by_target(*ages)["age"].losses) == (10, 1)  # with the smaller error
    pairs = predictions(400, female_probability=wrong_genders(8, 400), group=[str(row // 2) for row in range(400)])
    assert by_target(pairs, b)["gender"].wins == 4  # of two pictures each


def test_a_verdict_needs_thirty_groups() -> None:
    right, all_wrong = predictions(), predictions(female_probability=wrong_genders(ROWS))
    few, enough = (by_target(all_wrong.slice(0, rows), right)["gender"] for rows in (29, 30))
    assert (few.low, few.high, few.verdict) == (1.0, 1.0, "no difference shown")
    assert enough.verdict == "better"


def test_b_beats_a_if_better_in_something_and_worse_in_nothing() -> None:
    better, worse, neither = difference(0.1, 0.2), difference(-0.2, -0.1), difference(-0.1, 0.1)
    assert comparison(neither, better).beats
    assert not comparison(neither).beats
    assert not comparison(better, worse).beats
    assert not comparison(neither, worse).beats


def test_a_table_does_not_beat_itself() -> None:
    found = compare(A, A)
    assert {(item.difference, item.low, item.high) for item in found.differences} == {(0.0, 0.0, 0.0)}
    assert not found.beats


def test_further_columns_and_their_order_do_not_matter() -> None:
    more = B.append_column("note", pa.array(["x"] * ROWS)).select(["note", *reversed(PREDICTIONS.names)])
    assert compare(A, more) == compare(A, B)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (B.drop_columns(["race", "age_low"]), "ours is no table of predictions; it lacks, or has twice: race, age_low"),
        (B.append_column("age", B["age"]), "lacks, or has twice: age"),
        (B.set_column(2, "age", B["age"].cast(pa.string())), "age is string, not int16"),
        (predictions(image_id=["a", *[None] * 39]), "ours has 39 rows without an image_id"),
        (pa.concat_tables([B, B.slice(3, 1)]), f"ours has image_id {3:064x} more than once"),
        (predictions(age_predicted=[np.nan] * ROWS), "ours has an entry in age_predicted that is no finite number"),
        (predictions(female_probability=[np.inf] * ROWS), "entry in female_probability"),
        (predictions(race_probabilities=[[0.2, None, 0.2, 0.2, 0.2]] * ROWS), "entry in race_probabilities"),
        (predictions(race_probabilities=[[np.nan] * 5] * ROWS), "entry in race_probabilities"),
        (B.slice(0, 0), "theirs and ours have no image_id in common"),
        (predictions(image_id=[f"other {row}" for row in range(ROWS)]), "theirs and ours have no image_id in common"),
        (predictions(age=[31] * ROWS, gender=NULLS, race_probabilities=NULLS), "no row with the same label"),
    ],
)
def test_a_table_that_cannot_be_compared_is_named(bad: pa.Table, message: str) -> None:
    with pytest.raises(SourceError) as raised:
        compare(A, bad, names=("theirs", "ours"))
    assert message in raised.value.message


def test_the_first_table_is_checked_as_the_second_is() -> None:
    with pytest.raises(SourceError, match="A is no table of predictions"):
        compare(A.drop_columns("image_id"), B)


@pytest.mark.parametrize(
    "settings",
    [{"samples": 0}, {"samples": 1_000_001}, {"seed": -1}, {"level": 0.0}, {"level": 1.0}, {"level": float("nan")}],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"{next(iter(settings))} must"):
        compare(A, B, **settings)
