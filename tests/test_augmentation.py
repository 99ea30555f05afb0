"""Each way of varying pictures does what its name says, and to the share of the pictures that is asked for."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from faceline.errors import SettingsError
from faceline.learning.augmentation import augment
from faceline.learning.recipe import Augmentation
from tests.toys import recipe

SEED = tf.constant([1, 1], tf.int64)


def pictures(count: int, side: int = 16) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def varied(crops: np.ndarray, **settings: Any) -> np.ndarray:
    result: np.ndarray = augment(tf.constant(crops), crops.shape[1], SEED, Augmentation(**settings)).numpy()
    return result


def test_translation_moves_pictures_whole() -> None:
    bright = np.zeros((32, 33, 33, 3), np.uint8)
    bright[:, 16, 16] = 255  # the middle
    moved = varied(bright, translation=0.25)[..., 0]
    places = np.arange(33)
    weight = moved.sum(axis=(1, 2))
    down = (moved.sum(axis=2) * places).sum(axis=1) / weight - 16
    across = (moved.sum(axis=1) * places).sum(axis=1) / weight - 16
    for shift in (down, across):
        assert np.abs(shift).max() <= 0.25 * 33
        assert shift.min() < -3 and shift.max() > 3
    assert not np.allclose(down, across, atol=1)


def test_a_turned_hue_leaves_the_grey_levels() -> None:
    crops = np.random.default_rng(1).integers(90, 160, (8, 16, 16, 3)).astype(np.uint8)  # nothing is clipped
    luma = np.array([0.299, 0.587, 0.114])
    turned = varied(crops, hue=0.1)
    assert np.allclose(turned @ luma, crops @ luma, atol=0.2)
    assert np.abs(turned - crops).max() > 5
    grey = np.repeat(crops[..., :1], 3, axis=-1)
    assert np.allclose(varied(grey, hue=0.5), grey, atol=0.2)


def test_a_share_of_the_pictures_is_made_grey() -> None:
    crops = pictures(64)
    result = varied(crops, grey=0.25)
    grey = np.ptp(result, axis=-1).max(axis=(1, 2)) < 0.01
    assert 4 <= grey.sum() <= 28
    assert np.allclose(result[~grey], crops[~grey], atol=0.01)


def test_a_share_of_the_pictures_is_compressed_the_lower_the_quality_the_worse() -> None:
    crops = pictures(64)
    results = (varied(crops, jpeg={"share": 0.5, "lowest": quality, "highest": quality}) for quality in (10, 95))
    worse, better = (np.abs(result - crops).mean(axis=(1, 2, 3)) for result in results)
    changed = worse > 0.1
    assert 16 <= changed.sum() <= 48
    assert np.array_equal(changed, better > 0.1)
    assert (worse[changed] > better[changed]).all()


def test_qualities_are_drawn_picture_by_picture() -> None:
    crops = np.repeat(pictures(1), 16, axis=0)
    result = varied(crops, jpeg={"share": 1, "lowest": 5, "highest": 90})
    assert len({picture.tobytes() for picture in result}) > 4


def test_what_is_switched_off_draws_nothing() -> None:
    """So that a recipe from before a way of varying came in sees the same pictures as ever."""
    usual = {"flip": True, "smallest_crop": 0.8, "brightness": 0.1, "erase": 0.2}
    off = {"translation": 0.0, "hue": 0.0, "grey": 0.0, "jpeg": None, "mixup": 0.0}
    crops = pictures(4)
    assert np.array_equal(varied(crops, **usual), varied(crops, **usual, **off))
    assert np.allclose(varied(crops, **off), crops, atol=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augmentation": {"jpeg": {"share": 0.5, "lowest": 90, "highest": 30}}}, "lowest 90 is above highest 30"),
        ({"augmentation": {"hue": 0.7}}, "recipes.toy.augmentation.hue = 0.7"),
        ({"optimizer": {"name": "adam", "learning_rate": 1, "momentum": 0.9}}, "momentum and nesterov belong to sgd"),
        ({"optimizer": {"name": "sgd", "learning_rate": 1, "nesterov": True}}, "nesterov needs a momentum above 0"),
        ({"optimizer": {"name": "sgd", "learning_rate": 1, "clip_norm": 0}}, "optimizer.clip_norm = 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        recipe(**changes)
    assert message in caught.value.message
