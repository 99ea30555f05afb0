"""Varying training pictures, a batch at a time: cheap, and the same for the same seed whatever ran before.

All geometry (crop, mirror, zoom, rotation, shear, translation) is one affine map a picture: pixels are resampled once.
All colour is another. What is drawn is drawn here, what follows from it is computed in `rendering`.
"""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from faceline.learning.pixels import GREY
from faceline.learning.recipe import Augmentation, Jpeg
from faceline.learning.rendering import Variations, render, shrink, taps

MARGIN = 1.25  # larger crops are first shrunk, smoothly, to this many times the input: an affine map does not smooth
YIQ = np.array([GREY, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])  # from red, green and blue (NTSC)
RGB = np.linalg.inv(YIQ)


@dataclass
class _Dice:
    """Uniform numbers, one a picture, from a seed that changes with every draw."""

    seed: tf.Tensor  # (2,) int64
    rows: int | tf.Tensor
    drawn: int = 0

    def uniform(self, low: float, high: float) -> tf.Tensor:
        """Numbers (rows,) from low to high."""
        self.drawn += 1
        seed = tf.stack([self.seed[0], self.seed[1] * 64 + self.drawn])  # at most 64 draws a batch
        return tf.random.stateless_uniform([self.rows], seed, low, high)

    def around(self, middle: float, spread: float) -> tf.Tensor:
        """Numbers (rows,) from middle - spread to middle + spread; nothing is drawn where all are the middle."""
        return self.uniform(middle - spread, middle + spread) if spread else tf.fill([self.rows], middle)


def augment(crops: tf.Tensor, size: int, seed: tf.Tensor, settings: Augmentation) -> tf.Tensor:
    """Vary and resize a batch.

    Args:
        crops: uint8 (batch, side, side, 3).
        size: pixels a side of the result.
        seed: (2,) int64; the same seed gives the same result.
        settings: how much.

    Returns:
        float32 (batch, size, size, 3), 0 to 255.
    """
    dice = _Dice(seed, tf.shape(crops)[0])
    crops = _compressed(crops, dice, settings.jpeg) if settings.jpeg else crops
    whole, side = crops.shape[1], min(crops.shape[1], round(size * MARGIN))
    variations = _variations(side, size, dice, settings)

    def drawn(crops: np.ndarray, *parts: np.ndarray) -> np.ndarray:
        return render(shrink(crops, taps(whole, side)) if side < whole else crops, size, Variations(*parts))

    pictures = tf.numpy_function(drawn, [crops, *variations], tf.float32, stateful=False)
    return tf.ensure_shape(pictures, (crops.shape[0], size, size, 3))


def _compressed(crops: tf.Tensor, dice: _Dice, settings: Jpeg) -> tf.Tensor:
    """Some of the crops as JPEG leaves them, each at a quality of its own."""
    chosen = dice.uniform(0.0, 1.0) < settings.share
    quality = tf.cast(dice.uniform(settings.lowest, settings.highest + 1), tf.int32)

    def one(row: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        crop, drawn, its_quality = row
        return tf.cond(drawn, lambda: tf.image.adjust_jpeg_quality(crop, its_quality), lambda: crop)

    return tf.map_fn(one, (crops, chosen, quality), fn_output_signature=tf.TensorSpec(crops.shape[1:], tf.uint8))


def _variations(source: int, size: int, dice: _Dice, settings: Augmentation) -> list[tf.Tensor]:
    """What `Variations` holds, drawn for pictures of `source` pixels a side that become pictures of `size`."""
    maps = _maps(source, size, dice, settings)
    hue, saturation = dice.around(0.0, 2 * math.pi * settings.hue), dice.around(1.0, settings.saturation)
    contrasts = dice.around(1.0, settings.contrast)
    brightness = dice.around(0.0, 255 * settings.brightness)
    greyed = dice.uniform(0.0, 1.0) < settings.grey if settings.grey else tf.zeros([dice.rows], tf.bool)
    half = tf.fill([dice.rows], settings.erase * size / 2)
    centres = [dice.uniform(0.0, float(size)) if settings.erase else tf.zeros([dice.rows]) for _ in ("down", "across")]
    erased = tf.stack([*centres, half], axis=1)
    return [maps, _tints(hue, saturation), contrasts, brightness, tf.cast(greyed, tf.float32), erased]


def _maps(source: int, size: int, dice: _Dice, settings: Augmentation) -> tf.Tensor:
    """One affine map (batch, 6) a picture, from the result's pixels to the source's, about the centres."""
    share = dice.uniform(settings.smallest_crop, 1.0)
    room = (1 - share) / 2  # how far the crop's centre may move, as a share of the side
    shift_x, shift_y = room * dice.uniform(-1.0, 1.0), room * dice.uniform(-1.0, 1.0)
    magnified = dice.uniform(1 - settings.zoom, 1 + settings.zoom)
    angle = dice.uniform(-math.radians(settings.rotation), math.radians(settings.rotation))
    slant = tf.tan(dice.uniform(-math.radians(settings.shear), math.radians(settings.shear)))
    mirror = tf.where(dice.uniform(0.0, 1.0) < 0.5, -1.0, 1.0) if settings.flip else tf.ones_like(share)

    scale = share / magnified * (source / size)
    a, b = scale * mirror * tf.cos(angle), scale * (slant * tf.cos(angle) - tf.sin(angle))
    c, d = scale * mirror * tf.sin(angle), scale * (slant * tf.sin(angle) + tf.cos(angle))
    middle, source_middle = (size - 1) / 2, (source - 1) / 2
    x = source_middle + shift_x * source - (a + b) * middle
    y = source_middle + shift_y * source - (c + d) * middle
    if settings.translation:
        x += source * dice.uniform(-settings.translation, settings.translation)
        y += source * dice.uniform(-settings.translation, settings.translation)
    return tf.stack([a, b, x, c, d, y], axis=1)


def _tints(hue: tf.Tensor, saturation: tf.Tensor) -> tf.Tensor:
    """Matrices (batch, 3, 3) for a pixel's colours: turned and stretched about grey in YIQ's plane of two colours."""
    cosine, sine = saturation * tf.cos(hue), saturation * tf.sin(hue)
    one, zero = tf.ones_like(cosine), tf.zeros_like(cosine)
    rows = [[one, zero, zero], [zero, cosine, -sine], [zero, sine, cosine]]
    turned = tf.transpose(tf.stack([tf.stack(row) for row in rows]), [2, 0, 1])
    return tf.cast(RGB, tf.float32) @ turned @ tf.cast(YIQ, tf.float32)
