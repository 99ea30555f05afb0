"""What compiled code draws is what plain TensorFlow would: resizing, affine maps, colours, erased squares."""

import colorsys
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from faceline.learning.augmentation import augment
from faceline.learning.pixels import GREY, resized
from faceline.learning.recipe import Augmentation
from faceline.learning.rendering import Variations, render, shrink, taps


def pictures(count: int, side: int, low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(1).integers(low, high, (count, side, side, 3)).astype(np.uint8)


def variations(count: int, **changed: Any) -> Variations:
    """Those that leave pictures as they are, but for what is named: one value for all."""
    plain = {
        "maps": [1, 0, 0, 0, 1, 0],
        "tints": np.eye(3),
        "contrasts": 1,
        "brightness": 0,
        "greyed": 0,
        "erased": [0, 0, 0],
    }
    return Variations(*(np.stack([np.asarray(value, np.float32)] * count) for value in (plain | changed).values()))


@pytest.mark.parametrize(
    ("source", "target"), [(176, 160), (176, 60), (72, 60), (200, 64), (61, 60), (100, 10), (5, 4), (3, 2)]
)
def test_shrinking_is_tensorflows_smoothed_bilinear_resizing(source: int, target: int) -> None:
    given = pictures(3, source)
    assert np.allclose(shrink(given, taps(source, target)), resized(tf.constant(given), target), atol=0.01)


def test_maps_are_those_of_tensorflows_projective_transform() -> None:
    given = pictures(4, 20)
    maps = np.array([[0.7, 0.3, 2, -0.3, 0.7, 5], [-1, 0, 19, 0, 1, 0], [2, 0, -9, 0, 2, -9], [0.1, 0, 30, 0, 0.1, -4]])
    wanted = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.constant(given, tf.float32),
        transforms=np.pad(maps, ((0, 0), (0, 2))).astype(np.float32),
        output_shape=[16, 16],
        interpolation="BILINEAR",
        fill_mode="NEAREST",
        fill_value=0.0,
    )
    drawn = render(given, 16, variations(4)._replace(maps=maps.astype(np.float32)))
    assert np.allclose(drawn, wanted, atol=0.01)


def test_contrast_spreads_about_each_channels_mean_of_what_is_shown() -> None:
    given = pictures(2, 12, 100, 140)
    shown = given[:, 2:10, 2:10].astype(float)
    mean = shown.mean(axis=(1, 2), keepdims=True)
    drawn = render(given, 8, variations(2, maps=[1, 0, 2, 0, 1, 2], contrasts=1.5, brightness=7))
    assert np.allclose(drawn, mean + 1.5 * (shown - mean) + 7, atol=0.01)


def test_colours_are_tinted_before_contrast_and_greyed_after_it() -> None:
    given = pictures(2, 8, 100, 140)
    tint = np.array([[0.9, 0.1, 0], [0, 1, 0], [0.2, 0, 0.8]])
    tinted = given @ tint.T
    mean = tinted.mean(axis=(1, 2), keepdims=True)
    grey = (mean + 0.5 * (tinted - mean) - 3) @ np.array(GREY)
    drawn = render(given, 8, variations(2, tints=tint, contrasts=0.5, brightness=-3, greyed=1))
    assert np.allclose(drawn, np.repeat(grey[..., None], 3, axis=-1), atol=0.01)


def test_what_is_brighter_than_white_or_darker_than_black_is_cut_off() -> None:
    given = pictures(1, 8)
    assert np.allclose(render(given, 8, variations(1, brightness=50)), np.minimum(given + 50.0, 255))
    assert np.allclose(render(given, 8, variations(1, brightness=-50)), np.maximum(given - 50.0, 0))


def test_a_square_is_erased_after_all_else() -> None:
    drawn = render(pictures(1, 8), 8, variations(1, brightness=300, erased=[2, 5, 1.5]))[0]
    erased = (drawn == 127.5).all(axis=-1)
    assert erased[1:4, 4:7].all()
    assert erased.sum() == 9


def test_a_turned_hue_turns_the_colour_wheel() -> None:
    """Drawn hues go as far as is asked, either way; the angle in YIQ's plane is close to that of the wheel."""
    red = np.zeros((64, 8, 8, 3), np.uint8)
    red[..., 0], red[..., 1:] = 180, 90
    varied = augment(tf.constant(red), 8, tf.constant([1, 1], tf.int64), Augmentation(hue=0.1)).numpy()[:, 0, 0]
    hues = np.array([(colorsys.rgb_to_hsv(*(pixel / 255))[0] + 0.5) % 1 - 0.5 for pixel in varied])
    assert -0.14 < hues.min() < -0.05
    assert 0.05 < hues.max() < 0.14


def test_saturation_stretches_colours_about_their_grey_level() -> None:
    given = pictures(32, 8, 110, 140)
    varied = augment(tf.constant(given), 8, tf.constant([1, 1], tf.int64), Augmentation(saturation=0.5)).numpy()
    luma = (given @ np.array(GREY))[..., None]
    factors = ((varied - luma) * (given - luma)).sum(axis=(1, 2, 3)) / ((given - luma) ** 2).sum(axis=(1, 2, 3))
    assert np.allclose(varied, luma + factors[:, None, None, None] * (given - luma), atol=0.05)
    assert factors.min() < 0.7
    assert factors.max() > 1.3
    assert math.isclose(factors.mean(), 1, abs_tol=0.2)
