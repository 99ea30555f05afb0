"""The losses of every head: lowest where the output is right, as the papers have them, and silent without a label."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from faceline.learning import heads
from faceline.learning.losses import loss
from faceline.learning.targets import Age, Gender, Head, Race, Targets

BINS = np.arange(117)


def bell(age: float) -> np.ndarray:
    weights = np.exp(-0.5 * ((BINS - age) / 2.5) ** 2)
    return (weights / weights.sum())[None].astype(np.float32)


def number(age: float) -> np.ndarray:
    return np.array([[age]], np.float32)


def older(age: float) -> np.ndarray:
    return (1 - np.cumsum(bell(age), axis=1)[:, :-1]).astype(np.float32)


OUTPUTS: dict[str, Callable[[float], np.ndarray]] = {
    "dldl": bell,
    "crossentropy": bell,
    "mean_variance": bell,
    "ordinal": older,
    "mae": number,
    "mse": number,
    "huber": number,
}
EVERY: list[Head] = [
    *(Age(loss=name) for name in OUTPUTS),
    Gender(loss="crossentropy", label_smoothing=0.1),
    Race(loss="crossentropy", label_smoothing=0.1),
]


def of_rows(head: Head, labels: list[float], outputs: np.ndarray) -> np.ndarray:
    return np.asarray(loss(head)(tf.constant(labels, tf.float32)[:, None], tf.constant(outputs, tf.float32)))


@pytest.mark.parametrize("name", OUTPUTS)
def test_losses_of_age_are_lowest_at_the_label(name: str) -> None:
    found = of_rows(Age(loss=name), [30] * 3, np.concatenate([OUTPUTS[name](age) for age in (20, 30, 60)]))
    assert found.shape == (3,)
    assert found[1] == min(found)
    assert found[2] > found[0]


def test_a_large_error_counts_linearly_in_huber() -> None:
    found = of_rows(Age(loss="huber", delta=4), [30] * 3, np.array([[32], [40], [50]]))
    assert found.tolist() == [2, 4 * 10 - 8, 4 * 20 - 8]


def test_mean_variance_is_the_sum_of_its_three_parts() -> None:
    outputs = np.zeros((1, 117))
    outputs[0, [20, 40]] = 0.75, 0.25  # mean 25, variance 75
    head = Age(loss="mean_variance", mean_weight=0.2, variance_weight=0.05)
    assert of_rows(head, [20], outputs)[0] == pytest.approx(-np.log(0.75) + 0.2 * 25 / 2 + 0.05 * 75, rel=1e-4)


def test_coral_is_the_sum_of_its_binary_cross_entropies() -> None:
    outputs = np.random.default_rng(1).uniform(0.05, 0.95, (1, 116))
    right = np.where(np.arange(116) < 30, outputs, 1 - outputs)  # 30 is older than 0 … 29 and no other
    assert of_rows(Age(loss="ordinal"), [30], outputs)[0] == pytest.approx(-np.log(right).sum(), rel=1e-4)


def test_label_smoothing_asks_for_less_than_certainty() -> None:
    sure, less = np.array([[0.999, 0.001, 0, 0, 0]]), np.array([[0.92, 0.02, 0.02, 0.02, 0.02]])
    for smoothing, better in ((0.0, sure), (0.1, less)):
        found = of_rows(Race(loss="crossentropy", label_smoothing=smoothing), [0, 0], np.concatenate([sure, less]))
        assert found.argmin() == (better is less)


@pytest.mark.parametrize("head", EVERY, ids=lambda head: f"{type(head).__name__}-{head.loss}")
def test_a_row_without_a_label_changes_nothing(head: Head) -> None:
    """Its label stands as 0 with weight 0; a batch of such rows alone gives neither loss nor gradient, and no NaN."""
    target = type(head).__name__.lower()
    keras.utils.set_random_seed(1)
    features = keras.Input((4,))
    model = keras.Model(features, heads.outputs({target: features}, Targets(**{target: head})))
    model.compile("sgd", {target: loss(head)}, weighted_metrics={target: [heads.metric(head)]})
    x, before = np.random.default_rng(1).normal(size=(6, 4)), model.get_weights()
    none = model.train_on_batch(x, {target: np.zeros((6, 1))}, {target: np.zeros(6)}, return_dict=True)
    assert none["loss"] == 0
    assert all(np.isfinite(value) for value in none.values())
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    known = np.array([[1.0]] * 3 + [[0.0]] * 3), np.array([1.0] * 3 + [0.0] * 3)
    masked = model.evaluate(x, {target: known[0]}, sample_weight={target: known[1]}, verbose=0, return_dict=True)
    alone = model.evaluate(x[:3], {target: known[0][:3]}, verbose=0, return_dict=True)
    assert masked["loss"] * 2 == pytest.approx(alone["loss"], rel=1e-5)  # Keras divides by all rows of the batch
    assert [v for k, v in masked.items() if k != "loss"] == pytest.approx([v for k, v in alone.items() if k != "loss"])
