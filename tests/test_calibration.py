"""Temperatures and intervals from a validation subset whose truth is known, and from toy shards."""

from pathlib import Path

import numpy as np
import pytest

from faceline.datasets.records import ShardSettings, read_rows
from faceline.learning.answering import answers_of
from faceline.learning.calibration import (
    HOTTEST,
    conformal_score,
    fit_age_temperature,
    fit_interval,
    fit_temperature,
    validate,
)
from faceline.learning.card import Input
from faceline.learning.heads import years
from faceline.learning.pixels import prepare
from faceline.learning.recipe import Recipe
from faceline.learning.training import Trained, build
from faceline.probabilities import binary, log_loss, tempered, untempered
from tests.toys import ROWS, network, pixels, recipe, write_shards

BINS = np.arange(117)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = ShardSettings(formats=("tfrecord",), rows=20, seed=1)
    return write_shards(tmp_path_factory.mktemp("toys") / "shards", settings)


def untrained(settings: Recipe) -> list[Trained]:
    return [Trained(entry.name, entry, build(entry, settings), []) for entry in settings.networks]


def drawn(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """True probabilities of five classes (rows, 5), and a class drawn by them for each row (rows,)."""
    random = np.random.default_rng(seed)
    true = random.dirichlet(np.ones(5), rows)
    return true, (true.cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1)


@pytest.mark.parametrize("exaggerated", [0.5, 1.0, 2.0])
def test_the_temperature_undoes_an_exaggeration(exaggerated: float) -> None:
    true, labels = drawn(20_000, 1)
    told = tempered(true, 1 / exaggerated)
    found = fit_temperature(told, labels)
    assert found == pytest.approx(exaggerated, rel=0.05)
    assert log_loss(tempered(told, found), labels) <= log_loss(told, labels)


def test_a_temperature_stays_within_bounds_where_nothing_is_wrong() -> None:
    assert fit_temperature(binary(np.array([0.2, 0.9])), np.array([0, 1])) == pytest.approx(1 / HOTTEST, rel=0.01)


def test_a_temperature_keeps_the_order_and_its_inverse_undoes_it() -> None:
    true, _ = drawn(100, 2)
    soft = tempered(true, 3.0)
    assert np.array_equal(soft.argsort(axis=1), true.argsort(axis=1))
    assert np.allclose(soft.sum(axis=1), 1)
    assert np.allclose(untempered(soft, 3.0), true, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.3, 0.6, 1.0, 2.5])
def test_what_is_undone_of_sure_answers_is_as_sure_as_before(temperature: float) -> None:
    """As the table has them, in float32: of gender the probability of "female" alone."""
    sure = np.array([[1 - 4e-5, 3e-5, 1e-5], [0.5, 0.4999, 1e-4]])
    told = tempered(sure, temperature).astype(np.float32)
    assert untempered(told, temperature) == pytest.approx(sure, rel=1e-5)
    women = np.array([1e-6, 1e-5, 0.3])
    told = tempered(binary(women), temperature)[:, 1].astype(np.float32)
    assert untempered(binary(told), temperature)[:, 1] == pytest.approx(women, rel=1e-5)
    assert np.isfinite(untempered(binary(np.array([1.0, 0.0])), temperature)).all()


def test_certainty_stays_finite() -> None:
    certain = binary(np.array([1.0, 0.0]))
    assert np.isfinite(tempered(certain, 0.2)).all()
    assert np.isfinite(log_loss(certain, np.array([0, 1])))


def test_ages_are_sharpened_as_far_as_their_expectations_come_nearer() -> None:
    random = np.random.default_rng(1)
    near, far = (np.exp(-0.5 * ((BINS - random.integers(*ages, (500, 1))) / 3) ** 2) for ages in ((1, 40), (60, 90)))
    outputs = 0.8 * near + 0.2 * far  # a tail, as children have
    outputs /= outputs.sum(axis=1, keepdims=True)
    ages = years(outputs, "distribution", 0.5) + random.normal(size=500)
    found = fit_age_temperature(outputs, "distribution", ages)
    assert found == pytest.approx(0.5, abs=0.05)
    interval = fit_interval(outputs, "distribution", ages, 0.9, found)
    assert interval.half_width < fit_interval(outputs, "distribution", ages, 0.9).half_width / 3


def test_ages_that_no_temperature_brings_nearer_keep_their_own() -> None:
    outputs = np.random.default_rng(1).dirichlet(np.ones(117), 10)
    assert fit_age_temperature(outputs, "distribution", years(outputs, "distribution")) == 1


def test_the_interval_covers_what_it_promises() -> None:
    random = np.random.default_rng(1)
    covered = []
    for _ in range(300):
        half_width = conformal_score(np.abs(random.normal(size=50)), 0.8)
        covered.append((np.abs(random.normal(size=200)) <= half_width).mean())
    assert np.mean(covered) == pytest.approx(0.8, abs=0.02)
    assert conformal_score(np.array([1.0, 3.0]), 0.9) == 3


def test_unsure_answers_get_wider_intervals_and_the_whole_is_covered() -> None:
    random = np.random.default_rng(1)
    deviations = random.choice([3.0, 9.0], 4000)
    outputs = np.exp(-0.5 * ((BINS - 50) / deviations[:, None]) ** 2)
    outputs /= outputs.sum(axis=1, keepdims=True)
    ages = 50 + deviations * random.normal(size=4000)
    interval = fit_interval(outputs[:2000], "distribution", ages[:2000], 0.9)
    assert interval.typical_deviation == pytest.approx(6, abs=0.3)
    found = answers_of({"age": outputs[2000:]}, recipe(), {}, interval)
    inside = (np.asarray(found.age_low) <= ages[2000:]) & (ages[2000:] <= np.asarray(found.age_high))
    assert inside.mean() == pytest.approx(0.9, abs=0.02)
    widths = np.asarray(found.age_high) - np.asarray(found.age_low)
    sure = deviations[2000:] == 3
    assert widths[~sure].mean() == pytest.approx(widths[sure].mean() * 5 / 2, rel=0.05)


def test_a_number_gets_one_width() -> None:
    interval = fit_interval(np.array([[30.0], [40.0]]), "number", np.array([31.0, 44.0]), 0.9)
    assert (interval.half_width, interval.typical_deviation) == (4, None)


def test_all_networks_are_validated_as_they_will_answer(shards: Path) -> None:
    targets = [network("age"), network("gender", "race")]
    found = [
        validate(untrained(settings), settings, shards)
        for settings in (
            recipe(networks=targets),
            recipe(networks=targets, serving={"flip_averaging": True, "coverage": 0.5}),
        )
    ]
    for validated in found:
        assert set(validated.metrics) == {"rows", "age", "gender", "race"}
        assert validated.metrics["rows"] == ROWS["val"]
        assert set(validated.temperatures) == {"age", "gender", "race"}
    wide, narrow = (validated.age_interval for validated in found)
    assert wide is not None and narrow is not None
    assert wide.coverage == 0.9 and narrow.coverage == 0.5
    assert narrow.half_width < wide.half_width


def test_rows_without_a_label_are_left_out(shards: Path) -> None:
    """Every third row of the toy shards has no race."""
    settings = recipe(networks=[network("race")])
    (trained,) = untrained(settings)
    rows = list(read_rows(shards, "val"))
    outputs = trained.model(prepare(np.stack([pixels(row) for row in rows]), Input.of(settings)))["race"].numpy()
    known = np.array([row["race"] is not None for row in rows])
    races = np.array([row["race"] for row in rows if row["race"] is not None])
    assert 0 < len(races) < len(rows)
    found = validate([trained], settings, shards)
    assert found.temperatures["race"] == pytest.approx(fit_temperature(outputs[known], races), rel=1e-3)
    assert found.metrics["race"]["accuracy"] == pytest.approx((outputs[known].argmax(axis=1) == races).mean())


def test_the_card_keeps_the_scores_of_the_validation_rows(shards: Path) -> None:
    settings = recipe(networks=[network("age"), network("gender")])
    found = validate(untrained(settings), settings, shards).nonconformity
    assert found.age is not None and found.gender is not None
    assert [band.rows for band in found.age] == [band.rows for band in found.gender] == [ROWS["val"]]
    # The interval covers nine tenths of the labels, so a tenth of the errors is beyond its half-width.
    assert 1 <= sum(score > 1 + 1e-6 for score in found.age[0].scores) + 1 <= 3
    only = recipe(networks=[network("race")])
    assert validate(untrained(only), only, shards).nonconformity.age is None
