"""Mixup: each training picture is mixed with another, and its loss is mixed from the losses against both labels.

Zhang et al. 2017, https://arxiv.org/abs/1710.09412. For cross-entropy, mixing the losses is the paper's mixing of the
labels; it is defined for every other loss too. A row's partner is its neighbour in the batch, whose order is random.

A mixed label is (batch, 2 k + 1): the label with the greater share, the other one, and the share of the first, where k
columns are a label (1, or more where a teacher's answer stands behind it). So it can be cut among devices by rows.
"""

from collections.abc import Callable, Mapping

import tensorflow as tf

Tensors = Mapping[str, tf.Tensor]
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # of labels and outputs: of each row, (batch,)
TINY = 1e-30  # keeps a quotient of two numbers finite that may both be 0


def mix(
    pictures: tf.Tensor, labels: Tensors, weights: Tensors, seed: tf.Tensor, alpha: float
) -> tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """Mix a batch.

    Args:
        pictures: (batch, side, side, channels), before they are scaled.
        labels: by target (batch, k).
        weights: by target (batch,), 0 where a label is missing: the other picture's then counts alone.
        seed: (2,) int64, as `augment` takes it.
        alpha: the picture's own share is the greater part of a draw from Beta(alpha, alpha).

    Returns:
        Pictures; mixed labels by target (batch, 2 k + 1); weights.
    """
    # Number 0 of the batch; `augment` counts its draws from 1.
    drawn = tf.random.stateless_gamma([2, tf.shape(pictures)[0]], tf.stack([seed[0], seed[1] * 64]), alpha)
    share = tf.reduce_max(drawn, axis=0) / tf.maximum(tf.reduce_sum(drawn, axis=0), TINY)
    share = tf.maximum(share, 0.5)
    own = share[:, None, None, None]
    mixed = own * pictures + (1 - own) * tf.roll(pictures, 1, axis=0)
    both = {name: _both(labels[name], weights[name], share) for name in labels}
    return mixed, {name: pair[0] for name, pair in both.items()}, {name: pair[1] for name, pair in both.items()}


def unmixed(inputs: tf.Tensor, labels: Tensors, weights: Tensors) -> tuple[tf.Tensor, dict[str, tf.Tensor], Tensors]:
    """A batch of pictures that are not mixed, with labels as a mixed loss takes them."""
    twice = {name: tf.concat([label, label, tf.ones_like(label[:, :1])], axis=1) for name, label in labels.items()}
    return inputs, twice, weights


def mixed_loss(loss: Loss) -> Loss:
    """The loss against mixed labels, from the loss against a label."""

    def of_both(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        columns = (labels.shape[-1] - 1) // 2
        share = labels[:, -1]
        first, second = labels[:, :columns], labels[:, columns:-1]
        return share * loss(first, outputs) + (1 - share) * loss(second, outputs)

    return of_both


def _both(label: tf.Tensor, weight: tf.Tensor, share: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A mixed label, and the weight that its two parts have together."""
    other = tf.roll(label, 1, axis=0)
    own_weight, other_weight = share * weight, (1 - share) * tf.roll(weight, 1, axis=0)
    total, greater = own_weight + other_weight, tf.maximum(own_weight, other_weight)
    own_first = (own_weight >= other_weight)[:, None]
    ordered = tf.where(own_first, label, other), tf.where(own_first, other, label)
    return tf.concat([*ordered, (greater / tf.maximum(total, TINY))[:, None]], axis=1), total
