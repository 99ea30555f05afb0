"""Logit adjustment: what a network answers for age and race, rare ones favoured by their shares of train."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from faceline.datasets.records import ShardSettings
from faceline.errors import SettingsError
from faceline.files import read_json, write_json
from faceline.learning import training
from faceline.learning.adjustment import adjust
from faceline.learning.recipe import Recipe
from tests.toys import network, recipe, write_shards

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
COUNTS = {"age": {"20": 90, "60": 10}, "race": {"0": 80, "1": 15, "4": 5, "unknown": 10}}
SHARES = np.array([0.8, 0.15, 1, 1, 0.05])  # races 2 and 3, of which there are no rows, stay as they are
PICTURES = np.random.default_rng(1).uniform(-1, 1, (6, 28, 28, 3)).astype(np.float32)
CROSSENTROPY = {"loss": "crossentropy"}
DLDL = {"loss": "dldl"}


def settings(strength: float, of_age: float = 0.0, **changes: Any) -> Recipe:
    entry = network()
    entry["targets"]["age"] = {**DLDL, "logit_adjustment": of_age}
    entry["targets"]["race"] = {**CROSSENTROPY, "logit_adjustment": strength}
    return recipe(networks=[entry], **changes)


def answers(model: keras.Model) -> dict[str, np.ndarray]:
    return {name: output.numpy() for name, output in model(PICTURES, training=False).items()}


def favoured(probabilities: np.ndarray, strength: float) -> np.ndarray:
    wanted = probabilities / SHARES**strength
    return np.asarray(wanted / wanted.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_answers_are_divided_by_a_power_of_the_shares_and_other_heads_stay(strength: float) -> None:
    wanted = settings(strength)
    model = training.build(wanted.networks[0], wanted)
    before = answers(model)
    adjust(model, wanted.networks[0].targets, COUNTS)
    after = answers(model)
    assert np.allclose(after["race"], favoured(before["race"], strength), atol=1e-6)
    assert np.array_equal(after["race"], before["race"]) == (strength == 0)
    assert all(np.array_equal(after[name], before[name]) for name in ("age", "gender"))


def test_ages_are_divided_by_a_power_of_their_smoothed_shares() -> None:
    wanted = settings(0.0, of_age=0.5)
    model = training.build(wanted.networks[0], wanted)
    before = answers(model)
    adjust(model, wanted.networks[0].targets, COUNTS)
    after = answers(model)
    factor = (after["age"] / before["age"])[0]
    assert np.allclose(after["age"] / before["age"], factor, rtol=1e-3)  # the same for every picture, but for the sum
    assert factor[60] / factor[20] == pytest.approx(3, rel=1e-3)  # a ninth of the rows, to the power of a half
    peak = 1 / (3 * np.sqrt(2 * np.pi))  # of the normal kernel, three years wide
    assert factor[20] / factor[40] == pytest.approx((0.9 * peak) ** -0.5, rel=1e-3)  # no row is within 12 years of 40
    assert factor[71] / factor[20] == pytest.approx((90 * peak) ** 0.5, rel=1e-3)  # less than a row counts as one
    assert np.array_equal(after["race"], before["race"])


def test_a_network_without_race_stays_as_it_is() -> None:
    wanted = recipe(networks=[network("age")])
    model = training.build(wanted.networks[0], wanted)
    before = model.get_weights()
    adjust(model, wanted.networks[0].targets, COUNTS)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_training_ends_with_it(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", ShardSettings(formats=("tfrecord",), rows=20, seed=1))
    manifest = read_json(shards / "manifest.json")
    write_json(shards / "manifest.json", manifest | {"label_counts": {"train": COUNTS, "val": {}}})
    plain, adjusted = (  # the second goes on from the checkpoint of the first, which has ended
        answers(training.train(settings(strength, epochs=1), shards, tmp_path / "store", lambda line: None)[0].model)
        for strength in (0.0, 0.5)
    )
    assert np.allclose(adjusted["race"], favoured(plain["race"], 0.5), atol=1e-6)
    assert np.array_equal(adjusted["age"], plain["age"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": {"race": {**CROSSENTROPY, "logit_adjustment": 1.5}}}, "logit_adjustment = 1.5"),
        (
            {"targets": {"age": {"loss": "mae", "given": ["race"]}, "race": {**CROSSENTROPY, "logit_adjustment": 0.3}}},
            "age is given race as it was trained, so race can have no logit_adjustment",
        ),
        (
            {"targets": {"age": {"loss": "mae", "logit_adjustment": 0.1}}},
            "logit_adjustment belongs to dldl, crossentropy and mean_variance, not to mae",
        ),
        (
            {"targets": {"age": {**DLDL, "logit_adjustment": 0.3}}, "refit": {"age": {"learner": "forest"}}},
            "age.logit_adjustment belongs to the network's own head, which refit replaces",
        ),
        (
            {"targets": {"race": {**CROSSENTROPY, "logit_adjustment": 0.3}}, "refit": {"race": {"learner": "smote"}}},
            "race.logit_adjustment belongs to the network's own head, which refit replaces",
        ),
    ],
)
def test_what_it_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        recipe(networks=[{**network(), **changes}])
    assert message in caught.value.message
    assert "\n" not in caught.value.message
