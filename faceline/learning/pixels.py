"""From crops to what networks take in: resized, grey if the recipe says so, scaled. Training and serving share it."""

import tensorflow as tf

from faceline.learning.card import Input
from faceline.learning.recipe import Scaling

GREY = (0.299, 0.587, 0.114)  # weights of red, green and blue (ITU-R BT.601), as Pillow's mode L


def resized(crops: tf.Tensor, size: int) -> tf.Tensor:
    """Crops (batch, side, side, 3) as float32 (batch, size, size, 3), 0 to 255; bilinear, smoothed where shrunk."""
    if crops.shape[1] == size:
        return tf.cast(crops, tf.float32)
    return tf.image.resize(crops, (size, size), method="bilinear", antialias=True)


def scaled(pictures: tf.Tensor, grey: bool, scaling: Scaling) -> tf.Tensor:
    """Pictures (batch, side, side, 3), 0 to 255, as the network's input with 1 or 3 channels.

    Values are from -1 to 1 (`symmetric`), or have mean 0 and deviation 1 in each picture (`whitened`, as FaceNet takes
    them: https://github.com/davidsandberg/facenet, `prewhiten`).
    """
    if grey:
        pictures = tf.reduce_sum(pictures * tf.constant(GREY), axis=-1, keepdims=True)
    return tf.image.per_image_standardization(pictures) if scaling == "whitened" else pictures / 127.5 - 1.0


def prepare(crops: tf.Tensor, given: Input) -> tf.Tensor:
    """Crops, uint8 (batch, side, side, 3), as a network's input, float32 (batch, size, size, 1 or 3)."""
    return scaled(resized(crops, given.size), given.channels == 1, given.scaling)
