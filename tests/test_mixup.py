"""Mixup mixes pictures and losses alike, and a label that is missing has no part in it."""

import numpy as np
import pytest
import tensorflow as tf

from faceline.learning import losses, mixup
from faceline.learning.targets import Age, Gender

SEED = tf.constant([1, 3], tf.int64)
ROWS = 64


def mixed(weights: list[float], columns: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures, labels and weights after mixing; each picture has the value of its label all over."""
    values = np.arange(ROWS, dtype=np.float32)
    pictures = tf.constant(values[:, None, None, None] * np.ones((1, 2, 2, 3), np.float32))
    labels = tf.constant(np.repeat(values[:, None], columns, axis=1))
    result = mixup.mix(pictures, {"age": labels}, {"age": tf.constant(weights)}, SEED, 0.4)
    return result[0].numpy(), result[1]["age"].numpy(), result[2]["age"].numpy()


def test_pictures_are_mixed_as_their_labels_are() -> None:
    pictures, labels, weights = mixed([1.0] * ROWS)
    first, second, share = labels.T
    assert np.array_equal(first, np.arange(ROWS))
    assert np.array_equal(second, np.roll(np.arange(ROWS), 1))
    assert np.allclose(pictures[:, 0, 0, 0], share * first + (1 - share) * second, atol=1e-3)
    assert share.min() >= 0.5 and share.max() <= 1
    assert share.min() < 0.7 and share.max() > 0.95
    assert np.allclose(weights, 1)


def test_the_loss_is_mixed_from_those_against_both_labels() -> None:
    labels = np.array([[30.0, 50.0, 0.75]], np.float32)
    outputs = np.array([[20.0]], np.float32)
    found = mixup.mixed_loss(losses.loss(Age(loss="mae")))(tf.constant(labels), tf.constant(outputs))
    assert found.numpy().tolist() == pytest.approx([0.75 * 10 + 0.25 * 30])


def test_of_a_cross_entropy_that_is_the_mixing_of_the_labels() -> None:
    loss, outputs = losses.loss(Gender(loss="crossentropy")), tf.constant([[0.3]])
    found = mixup.mixed_loss(loss)(tf.constant([[1.0, 0.0, 0.6]]), outputs)
    assert float(found[0]) == pytest.approx(-0.6 * np.log(0.3) - 0.4 * np.log(0.7), rel=1e-4)


def test_a_missing_label_leaves_the_other_ones_share() -> None:
    known = [float(row % 3 != 0) for row in range(ROWS)]
    _, labels, weights = mixed(known)
    share = mixed([1.0] * ROWS)[1][:, -1]
    for row in range(ROWS):
        own, other = known[row] * share[row], known[row - 1] * (1 - share[row])
        assert weights[row] == pytest.approx(own + other, abs=1e-6)
        if not own + other:
            continue
        if not known[row]:
            assert labels[row, 0] == (row - 1) % ROWS and labels[row, 2] == 1
        elif not known[row - 1]:
            assert labels[row, 0] == row and labels[row, 2] == 1
    assert np.isfinite(labels).all()


def test_labels_of_several_columns_stay_together() -> None:
    _, labels, _ = mixed([1.0] * ROWS, columns=3)
    assert labels.shape == (ROWS, 7)
    assert np.array_equal(labels[:, :3], np.repeat(np.arange(ROWS)[:, None], 3, axis=1))


def test_a_picture_that_is_not_mixed_has_its_own_loss() -> None:
    labels, outputs = tf.constant([[30.0], [40.0]]), tf.constant([[20.0], [45.0]])
    loss = losses.loss(Age(loss="mae"))
    _, twice, _ = mixup.unmixed(tf.zeros((2, 1)), {"age": labels}, {"age": tf.ones(2)})
    assert np.array_equal(mixup.mixed_loss(loss)(twice["age"], outputs), loss(labels, outputs))


def test_the_same_seed_gives_the_same_shares() -> None:
    assert np.array_equal(mixed([1.0] * ROWS)[1], mixed([1.0] * ROWS)[1])
