"""Varying training pictures, a batch at a time: cheap, and the same for the same seed whatever ran before.

All geometry (crop, mirror, zoom, rotation, shear, translation) is one affine map a picture: pixels are resampled once.
"""

import math
from dataclasses import dataclass

import tensorflow as tf

from faceline.learning.pixels import resized
from faceline.learning.recipe import Augmentation, Jpeg

MARGIN = 1.25  # larger crops are first shrunk, smoothly, to this many times the input: an affine map does not smooth
LUMA = (0.299, 0.587, 0.114)


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
    side = min(crops.shape[1], round(size * MARGIN))
    pictures = _colour(_geometry(resized(crops, side), size, dice, settings), dice, settings)
    return _erase(pictures, dice, settings.erase) if settings.erase else pictures


def _compressed(crops: tf.Tensor, dice: _Dice, settings: Jpeg) -> tf.Tensor:
    """Some of the crops as JPEG leaves them, each at a quality of its own."""
    chosen = dice.uniform(0.0, 1.0) < settings.share
    quality = tf.cast(dice.uniform(settings.lowest, settings.highest + 1), tf.int32)

    def one(row: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        crop, drawn, its_quality = row
        return tf.cond(drawn, lambda: tf.image.adjust_jpeg_quality(crop, its_quality), lambda: crop)

    return tf.map_fn(one, (crops, chosen, quality), fn_output_signature=tf.TensorSpec(crops.shape[1:], tf.uint8))


def _geometry(pictures: tf.Tensor, size: int, dice: _Dice, settings: Augmentation) -> tf.Tensor:
    """One affine map a picture, from the result's pixels to the source's, about the centres."""
    share = dice.uniform(settings.smallest_crop, 1.0)
    room = (1 - share) / 2  # how far the crop's centre may move, as a share of the side
    shift_x, shift_y = room * dice.uniform(-1.0, 1.0), room * dice.uniform(-1.0, 1.0)
    magnified = dice.uniform(1 - settings.zoom, 1 + settings.zoom)
    angle = dice.uniform(-math.radians(settings.rotation), math.radians(settings.rotation))
    slant = tf.tan(dice.uniform(-math.radians(settings.shear), math.radians(settings.shear)))
    mirror = tf.where(dice.uniform(0.0, 1.0) < 0.5, -1.0, 1.0) if settings.flip else tf.ones_like(share)

    source = pictures.shape[1]
    scale = share / magnified * (source / size)
    a, b = scale * mirror * tf.cos(angle), scale * (slant * tf.cos(angle) - tf.sin(angle))
    c, d = scale * mirror * tf.sin(angle), scale * (slant * tf.sin(angle) + tf.cos(angle))
    middle, source_middle = (size - 1) / 2, (source - 1) / 2
    x = source_middle + shift_x * source - (a + b) * middle
    y = source_middle + shift_y * source - (c + d) * middle
    if settings.translation:
        x += source * dice.uniform(-settings.translation, settings.translation)
        y += source * dice.uniform(-settings.translation, settings.translation)
    zero = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pictures,
        transforms=tf.stack([a, b, x, c, d, y, zero, zero], axis=1),
        output_shape=[size, size],
        interpolation="BILINEAR",
        fill_mode="NEAREST",
        fill_value=0.0,
    )


def _colour(pictures: tf.Tensor, dice: _Dice, settings: Augmentation) -> tf.Tensor:
    """Brightness, contrast about the picture's mean, saturation and hue; some pictures grey."""

    def factor(spread: float) -> tf.Tensor:
        return dice.uniform(1 - spread, 1 + spread)[:, None, None, None]

    if settings.hue:
        pictures = _turned(pictures, 2 * math.pi * dice.uniform(-settings.hue, settings.hue)[:, None, None])
    if settings.saturation:
        grey = _luma(pictures)
        pictures = grey + (pictures - grey) * factor(settings.saturation)
    if settings.contrast:
        mean = tf.reduce_mean(pictures, axis=(1, 2), keepdims=True)
        pictures = mean + (pictures - mean) * factor(settings.contrast)
    if settings.brightness:
        pictures += 255 * dice.uniform(-settings.brightness, settings.brightness)[:, None, None, None]
    if settings.grey:
        pictures = tf.where(dice.uniform(0.0, 1.0)[:, None, None, None] < settings.grey, _luma(pictures), pictures)
    return tf.clip_by_value(pictures, 0.0, 255.0)


def _luma(pictures: tf.Tensor) -> tf.Tensor:
    """Grey levels (batch, height, width, 1)."""
    return tf.reduce_sum(pictures * tf.constant(LUMA), axis=-1, keepdims=True)


def _turned(pictures: tf.Tensor, angle: tf.Tensor) -> tf.Tensor:
    """Hues turned by `angle` (batch, 1, 1) in the plane of YIQ's two colours; the grey levels stay."""
    luma, orange, purple = tf.unstack(tf.image.rgb_to_yiq(pictures), axis=-1)
    turned = [luma, tf.cos(angle) * orange - tf.sin(angle) * purple, tf.sin(angle) * orange + tf.cos(angle) * purple]
    return tf.image.yiq_to_rgb(tf.stack(turned, axis=-1))


def _erase(pictures: tf.Tensor, dice: _Dice, share: float) -> tf.Tensor:
    """A square of mid grey at a random place of each picture (Zhong et al. 2017, https://arxiv.org/abs/1708.04896)."""
    size = pictures.shape[1]
    places = tf.range(size, dtype=tf.float32)
    half = share * size / 2
    inside = [tf.abs(places - dice.uniform(0.0, float(size))[:, None]) < half for _ in ("down", "across")]
    erased = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return tf.where(erased, 127.5, pictures)
