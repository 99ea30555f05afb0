"""Fused batch normalization: Keras's numbers, Keras's weights, wherever it stands in a network."""

import keras
import numpy as np
import pytest
from keras import layers

from faceline.learning.normalization import FusedBatchNormalization, fused
from faceline.learning.training import build
from tests import toys
from tests.toys import recipe


def network(*, frozen: bool = False, **options: bool) -> keras.Model:
    """Two convolutions with batch normalization, the second within a network of its own."""
    image = keras.Input((6, 6, 3))
    x = layers.BatchNormalization(name="outer", trainable=not frozen, **options)(
        layers.Conv2D(16, 3, name="first")(image)
    )
    inner = keras.Input((4, 4, 16))
    within = keras.Model(inner, layers.BatchNormalization(name="inner", **options)(layers.Conv2D(32, 3)(inner)))
    return keras.Model(image, within(x))


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}])
def test_a_training_gives_what_keras_gives(options: dict[str, bool]) -> None:
    keras.utils.set_random_seed(1)
    plain = network(**options)
    swift = fused(plain)
    images = np.random.default_rng(1).normal(2, 3, (64, 6, 6, 3)).astype(np.float32)
    wanted = np.random.default_rng(2).normal(size=(64, 2, 2, 32)).astype(np.float32)
    for model in (plain, swift):
        model.compile(keras.optimizers.SGD(0.05), "mse")
        model.fit(images, wanted, batch_size=32, epochs=2, shuffle=False, verbose=0)
    assert (
        sum(
            isinstance(layer, FusedBatchNormalization) for layer in (swift.get_layer("outer"), *swift.layers[-1].layers)
        )
        == 2
    )
    for ours, theirs in zip(swift.weights, plain.weights, strict=True):
        assert ours.path == theirs.path
        # An unbiased variance of 32 pictures of 2 by 2 is 1.008 times Keras's.
        assert np.allclose(ours.numpy(), theirs.numpy(), rtol=0.01, atol=1e-4)
    assert np.allclose(swift.predict(images, verbose=0), plain.predict(images, verbose=0), atol=0.02)


def test_a_frozen_layer_keeps_its_statistics() -> None:
    model = fused(network(frozen=True))
    images = np.random.default_rng(1).normal(2, 3, (8, 6, 6, 3)).astype(np.float32)
    before = [value.numpy() for value in model.get_layer("outer").weights]
    model.compile("sgd", "mse")
    model.fit(images, np.zeros((8, 2, 2, 32)), verbose=0)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.get_layer("outer").weights, strict=True))


def test_a_network_keeps_its_weights_names_and_what_is_frozen() -> None:
    chosen = recipe(networks=[toys.network("age") | {"arguments": {"width": 16}}])
    plain = build(chosen.networks[0], chosen, "mixed_bfloat16")
    swift = fused(plain)
    assert swift is not plain
    assert swift.name == plain.name
    assert all(np.array_equal(a, b) for a, b in zip(swift.get_weights(), plain.get_weights(), strict=True))
    assert [v.path for v in swift.trainable_variables] == [v.path for v in plain.trainable_variables]
    kinds = {type(layer) for layer in swift.layers}
    assert FusedBatchNormalization in kinds
    assert layers.BatchNormalization not in kinds
    assert {layer.compute_dtype for layer in swift.layers if isinstance(layer, FusedBatchNormalization)} == {"bfloat16"}


def test_what_cannot_be_fused_stays() -> None:
    features = keras.Input((4,))
    dense = keras.Model(features, layers.BatchNormalization()(features))
    assert fused(dense) is dense
    maps = keras.Input((16, 16, 16))
    rows = keras.Model(maps, layers.BatchNormalization(axis=1)(maps))
    assert fused(rows) is rows
    few = keras.Input((16, 16, 24))  # channels that do not fill vectors: fused it would be slower
    narrow = keras.Model(few, layers.BatchNormalization()(few))
    assert fused(narrow) is narrow
