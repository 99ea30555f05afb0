"""Rounded weights: before they are judged; fewer bytes in the bundle, which Keras alone opens, to the same answers."""

from pathlib import Path

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from faceline.datasets.records import ShardSettings
from faceline.errors import TrainingError
from faceline.learning import rounding, training
from faceline.learning.answering import load_network
from faceline.learning.card import read_card
from faceline.learning.forest_head import ForestHead
from faceline.learning.keras_file import save_network
from faceline.learning.recipe import Serving
from tests.toy_bundle import write_toy_bundle
from tests.toys import network, recipe, write_shards

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
WIDE = {"filters": 64, "kernel_size": 3}
HALVED, PACKED = Serving(half_precision=True), Serving(half_precision=True, rounding=0.25)


def loaded(bundle: Path) -> keras.Model:
    return load_network(bundle, read_card(bundle).networks[0])


def rounded(weights: list[np.ndarray]) -> list[np.ndarray]:
    return [values.astype(np.float16).astype(np.float32) for values in weights]


def same(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    return len(found) == len(wanted) and all(map(np.array_equal, found, wanted))


def test_a_bundle_holds_the_weights_rounded_and_gives_them_back_as_float32(tmp_path: Path) -> None:
    whole = loaded(write_toy_bundle(tmp_path / "whole")).get_weights()
    found = loaded(write_toy_bundle(tmp_path / "half", half_precision=True)).get_weights()
    assert not same(whole, rounded(whole))
    assert same(found, rounded(whole))
    assert {values.dtype for values in found} == {np.dtype(np.float32)}


def test_its_file_is_half_the_size_and_opens_without_this_project(tmp_path: Path) -> None:
    image = keras.Input((16, 16, 3))
    maps = keras.layers.Conv2D(**WIDE)(keras.layers.Conv2D(**WIDE)(image))
    model = keras.Model(image, keras.layers.Dropout(0.5)(maps))
    rounding.round_weights(model, HALVED)
    model.save(tmp_path / "whole.keras")
    save_network(tmp_path / "half.keras", model, HALVED)
    sizes = [(tmp_path / name).stat().st_size for name in ("whole.keras", "half.keras")]
    assert sizes[0] - sizes[1] == pytest.approx(2 * model.count_params(), rel=0.05)
    assert same(keras.saving.load_model(tmp_path / "half.keras").get_weights(), model.get_weights())


def test_kernels_on_a_grid_are_packed_and_biases_keep_their_digits(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((16, 16, 64)), keras.layers.Conv2D(**WIDE), keras.layers.BatchNormalization()]
    )
    layer = model.layers[0]
    kernel, bias = np.random.default_rng(1).normal(0, 0.04, (2, *layer.kernel.shape))[0], np.linspace(-1, 1, 64)
    layer.set_weights([kernel, bias])
    rounding.round_weights(model, PACKED)
    found, kept = layer.get_weights()
    step = 0.25 * np.sqrt(np.mean(kernel**2))
    assert np.abs(found - kernel).max() == pytest.approx(step / 2, rel=0.02)
    assert np.abs(found / step - np.rint(found / step)).max() < 0.01
    assert np.abs(kept - bias).max() < 0.0005
    for serving in (HALVED, PACKED):
        save_network(tmp_path / "packed.keras", model, serving)
        assert same(keras.saving.load_model(tmp_path / "packed.keras").get_weights(), model.get_weights())
        size = (tmp_path / "packed.keras").stat().st_size
        assert (size < 0.3 * 2 * model.count_params() + 10_000) is (serving is PACKED)


@pytest.mark.parametrize(
    ("channels", "layer"),
    [(32, keras.layers.DepthwiseConv2D(3)), (3, keras.layers.Conv2D(8, 3))],
    ids=["depthwise", "of three channels"],
)
def test_a_kernel_whose_outputs_add_up_few_products_keeps_its_digits(channels: int, layer: keras.layers.Layer) -> None:
    model = keras.Sequential([keras.Input((16, 16, channels)), layer])
    faint = [np.where(np.arange(values.size).reshape(values.shape) % 2, 1.0, 0.002) for values in layer.get_weights()]
    layer.set_weights(faint)
    rounding.round_weights(model, PACKED)
    assert same(layer.get_weights(), rounded([values.astype(np.float32) for values in faint]))


def test_a_kernel_of_zeros_stays_so() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer="zeros")])
    rounding.round_weights(model, PACKED)
    assert not np.any(model.get_weights()[0])


def test_the_leaves_of_a_forest_keep_their_digits() -> None:
    features = keras.Input((4,))
    leaves = np.linspace(0, 90, 200, dtype=np.float32)[:, None]
    head = ForestHead(trees=1, nodes=200, outputs=1, depth=3)
    model = keras.Model(features, head(features))
    head.values.assign(leaves)
    rounding.round_weights(model, PACKED)
    assert np.array_equal(head.values.numpy(), leaves.astype(np.float16))


def test_a_grid_needs_half_precision() -> None:
    with pytest.raises(ValidationError, match="rounding belongs to half_precision: true"):
        Serving(rounding=0.2)


def test_training_gives_rounded_weights_where_the_recipe_asks(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", ShardSettings(formats=("tfrecord",), rows=20, seed=1))
    changes = {"networks": [network("gender")], "epochs": 1}
    for asked in (False, True):
        wanted = recipe(**changes, serving={"half_precision": asked})
        trained = training.train(wanted, shards, tmp_path / "store", lambda line: None)[0]
        weights = trained.model.get_weights()
        assert same(weights, rounded(weights)) is asked


def test_a_weight_that_float16_cannot_hold_is_refused() -> None:
    image = keras.Input((4,))
    model = keras.Model(image, keras.layers.Dense(1, name="last")(image), name="toy")
    model.get_layer("last").set_weights([np.full((4, 1), 65504.0), np.array([-70000.0])])
    with pytest.raises(TrainingError, match="toy: last/bias has a weight of 70000, and float16 ends at 65504"):
        rounding.round_weights(model, HALVED)
    model.get_layer("last").set_weights([np.full((4, 1), -65504.0), np.array([3.0])])
    rounding.round_weights(model, HALVED)
    assert float(model.get_layer("last").kernel[0, 0]) == -65504
