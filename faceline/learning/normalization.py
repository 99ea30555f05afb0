"""Batch normalization as one operation while a network trains.

Keras makes it of a dozen operations, in float32 even where the network computes in bfloat16; TensorFlow has one, which
oneDNN and cuDNN run. It is twice as fast for channels that fill the processor's vectors, and slower for others, which
keep Keras's (docs/results.md). Bundles hold Keras's layer everywhere: the weights are the same.
"""

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

VECTOR = 16  # channels that oneDNN handles together


class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]  # Keras has no types
    """Keras's layer for maps (batch, height, width, channels), with TensorFlow's operation for a batch in training.

    The variance that goes into the running one is the unbiased estimate: with n values in a channel of a batch, Keras's
    times n / (n - 1).
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """The normalized maps; a frozen layer uses the running statistics, in training too."""
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        shape = self.moving_mean.shape
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(shape),
            tf.convert_to_tensor(self.beta) if self.center else tf.zeros(shape),
            epsilon=self.epsilon,
            is_training=True,
        )
        for running, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            running.assign(running * self.momentum + batch * (1 - self.momentum))
        return outputs


def fused(model: keras.Model) -> keras.Model:
    """The same network, with the same weights, whose batch normalization is fused wherever it can be."""

    def swapped(layer: keras.layers.Layer) -> keras.layers.Layer:
        replaced = FusedBatchNormalization if _can_be_fused(layer) else type(layer)
        return replaced.from_config(layer.get_config())

    if not any(map(_can_be_fused, layers(model))):
        return model
    same = keras.models.clone_model(model, clone_function=swapped, recursive=True)
    same.set_weights(model.get_weights())
    same.dtype_policy = model.dtype_policy  # which tells Keras to scale the loss in float16; a clone has the global one
    return same


def layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """All layers, those of networks within the network too."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from layers(layer)


def _can_be_fused(layer: keras.layers.Layer) -> bool:
    """Whether it normalizes the channels of maps, which come last and fill vectors, over the batch of one device."""
    if type(layer) is not keras.layers.BatchNormalization or layer.synchronized or layer.renorm:
        return False
    axes, dimensions = layer.input_spec.axes, layer.input_spec.ndim
    return dimensions == 4 and list(axes) in ([-1], [3]) and layer.moving_mean.shape[0] % VECTOR == 0
