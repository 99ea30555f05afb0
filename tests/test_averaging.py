"""Averaged weights have the statistics of their own features, and the training goes on as if nothing had been asked."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from faceline.datasets.records import ShardSettings
from faceline.learning import training
from faceline.learning.averaging import OwnStatistics
from faceline.learning.training import Trained
from tests.toys import network, recipe, write_shards

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
PICTURES = np.random.default_rng(1).normal(3, 2, (12, 8, 8, 3)).astype(np.float32)
BATCHES = tf.data.Dataset.from_tensor_slices(PICTURES).batch(5)  # 5, 5 and 2 of them


def built(*, frozen: bool = False) -> keras.Model:
    """Two layers of batch normalization, dropout between them."""
    keras.utils.set_random_seed(1)
    layers = [
        keras.layers.Conv2D(4, 3),
        keras.layers.BatchNormalization(trainable=not frozen),
        keras.layers.Dropout(0.5),
        keras.layers.Flatten(),
        keras.layers.Dense(6),
        keras.layers.BatchNormalization(),
    ]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers])


def statistics(model: keras.Model, layer: int) -> list[np.ndarray]:
    return [model.layers[layer].moving_mean.numpy(), model.layers[layer].moving_variance.numpy()]


def test_statistics_are_those_of_all_pictures_and_no_weight_moves() -> None:
    model, weights = built(), built().get_weights()
    found = OwnStatistics(built(), BATCHES).of(weights)
    model.set_weights(found)
    maps = model.layers[0](PICTURES).numpy()
    for value, wanted in zip(statistics(model, 1), (maps.mean((0, 1, 2)), maps.var((0, 1, 2))), strict=True):
        assert value == pytest.approx(wanted, rel=1e-3)
    moved = [not np.array_equal(a, b) for a, b in zip(weights, found, strict=True)]
    assert moved == ["moving" in weight.path for weight in model.weights]


def test_they_are_the_same_each_time_since_nothing_is_dropped() -> None:
    own, weights = OwnStatistics(built(), BATCHES), built().get_weights()
    for first, second in zip(own.of(weights), own.of(weights), strict=True):
        assert np.array_equal(first, second)


def test_a_frozen_layer_keeps_its_statistics() -> None:
    model = built(frozen=True)
    before = statistics(model, 1)
    model.set_weights(OwnStatistics(built(frozen=True), BATCHES).of(model.get_weights()))
    assert all(map(np.array_equal, before, statistics(model, 1)))
    assert not np.array_equal(statistics(model, 5)[0], np.zeros(6))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(
        tmp_path_factory.mktemp("toys") / "shards", ShardSettings(formats=("tfrecord",), rows=20, seed=1)
    )


def trained(shards: Path, store: Path, ema_momentum: float | None = 0.9) -> Trained:
    optimizer = {"name": "adamw", "learning_rate": 0.01, "ema_momentum": ema_momentum}
    settings = recipe(networks=[network()], optimizer=optimizer, epochs=3)
    return training.train(settings, shards, store, lambda line: None)[0]


def losses(found: Trained) -> list[Any]:
    return [row["loss"] for row in found.history]


def test_a_training_judges_and_keeps_averaged_weights_with_their_own_statistics(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[np.ndarray]] = []
    of = OwnStatistics.of
    monkeypatch.setattr(OwnStatistics, "of", lambda own, weights: asked.append(of(own, weights)) or asked[-1])
    found = trained(shards, tmp_path / "own")
    best = int(np.argmin([row["val_loss"] for row in found.history]))
    assert all(map(np.array_equal, found.model.get_weights(), asked[best]))

    monkeypatch.setattr(OwnStatistics, "of", lambda own, weights: weights)
    others = trained(shards, tmp_path / "others")
    assert all(a["val_loss"] != b["val_loss"] for a, b in zip(others.history, found.history, strict=True))
    assert losses(found) == losses(others) == losses(trained(shards, tmp_path / "plain", ema_momentum=None))
