"""Backbones of keras.applications: pixels as they want them, weights from files, what is frozen, bundles that open."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from faceline.errors import SettingsError, WeightsError
from faceline.learning import networks, normalization
from faceline.learning.networks._imagenet import prepared
from faceline.learning.networks.backbone import KINDS
from faceline.learning.recipe import Recipe
from faceline.learning.training import build
from tests.toys import recipe

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
PIXELS = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)


def settings(backbone: str, **arguments: Any) -> Recipe:
    entry = {
        "network": "backbone",
        "arguments": {"backbone": backbone, **arguments},
        "targets": {"age": {"loss": "mse"}, "gender": {"loss": "crossentropy"}},
    }
    return recipe(networks=[entry], input_size=32)


def make(backbone: str, **arguments: Any) -> keras.Model:
    chosen = settings(backbone, **arguments)
    return build(chosen.networks[0], chosen)


def initialize(model: keras.Model, backbone: str, weights: Path | str) -> str | None:
    return networks.initialize("backbone", model, settings(backbone, weights=weights).networks[0].parsed_arguments)


@pytest.mark.parametrize("preprocessing", ["tf", "torch", "caffe"])
def test_pixels_are_prepared_as_keras_prepares_them(preprocessing: Any) -> None:
    image = keras.Input((32, 32, 3))
    found = keras.Model(image, prepared(image, preprocessing)).predict(PIXELS / 127.5 - 1, verbose=0)
    wanted = keras.applications.imagenet_utils.preprocess_input(PIXELS.copy(), mode=preprocessing)
    assert np.allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize(
    ("backbone", "module"),
    [("vgg16", "vgg16"), ("resnet50", "resnet50"), ("xception", "xception"), ("inception_v3", "inception_v3")],
)
def test_each_backbone_gets_the_pixels_that_it_was_trained_on(backbone: str, module: str) -> None:
    wanted = getattr(keras.applications, module).preprocess_input(PIXELS.copy())
    found = keras.applications.imagenet_utils.preprocess_input(PIXELS.copy(), mode=KINDS[backbone].preprocessing)
    assert np.allclose(found, wanted)


@pytest.mark.parametrize("backbone", ["convnext_tiny", "efficientnetv2_b0"])
def test_what_these_would_prepare_themselves_is_prepared_for_them(backbone: str) -> None:
    whole = getattr(keras.applications, KINDS[backbone].function)(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    found = [layer for layer in keras.Sequential(whole.layers[1:4])._flatten_layers() if isinstance(layer, kinds)]
    wanted = keras.Sequential(found)(PIXELS)
    ours = keras.applications.imagenet_utils.preprocess_input(PIXELS.copy(), mode=KINDS[backbone].preprocessing)
    assert np.allclose(ours, wanted, atol=1e-3)


def test_grey_pictures_stand_in_three_channels() -> None:
    image = keras.Input((32, 32, 1))
    grey = PIXELS[..., :1] / 127.5 - 1
    found = keras.Model(image, prepared(image, "tf")).predict(grey, verbose=0)
    assert np.allclose(found, np.repeat(grey, 3, axis=-1))


@pytest.mark.parametrize("backbone", ["vgg16", "convnext_tiny"])
def test_a_network_is_opened_again_without_running_foreign_code(tmp_path: Path, backbone: str) -> None:
    model = make(backbone)
    model.save(tmp_path / "x.keras")
    again = keras.saving.load_model(tmp_path / "x.keras", compile=False, safe_mode=True)
    for name, output in model.predict(PIXELS, verbose=0).items():
        assert np.array_equal(output, again.predict(PIXELS, verbose=0)[name])


@pytest.fixture(scope="module")
def vgg() -> keras.Model:
    return make("vgg16")


@pytest.mark.parametrize("ending", [".weights.h5", ".h5", ".keras"])
def test_weights_come_from_a_file_that_keras_wrote(vgg: keras.Model, tmp_path: Path, ending: str) -> None:
    source = keras.applications.VGG16(include_top=False, weights=None, input_shape=(64, 64, 3))
    path = tmp_path / f"vgg{ending}"
    source.save_weights(path) if ending == ".weights.h5" else source.save(path)
    assert initialize(vgg, "vgg16", path) == f"starts from the weights in {path}"
    for found, wanted in zip(vgg.get_layer("vgg16").get_weights(), source.get_weights(), strict=True):
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_a_network_whose_normalization_is_fused_takes_files_too(tmp_path: Path, ending: str) -> None:
    """They name layers by their kind, and before a training some are of another."""
    source = keras.applications.EfficientNetV2B0(
        include_top=False, weights=None, input_shape=(64, 64, 3), include_preprocessing=False
    )
    path = tmp_path / f"x{ending}"
    source.save_weights(path) if ending == ".weights.h5" else source.save(path)
    model = normalization.fused(make("efficientnetv2_b0"))
    initialize(model, "efficientnetv2_b0", path)
    backbone = next(layer for layer in model.layers if hasattr(layer, "layers"))
    for found, wanted in zip(backbone.get_weights(), source.get_weights(), strict=True):
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5", ".keras"])
def test_a_file_of_other_weights_is_refused(vgg: keras.Model, tmp_path: Path, ending: str) -> None:
    other = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3)])
    path = tmp_path / f"x{ending}"
    other.save_weights(path) if ending == ".weights.h5" else other.save(path)
    damaged = tmp_path / f"damaged{ending}"
    damaged.write_bytes(path.read_bytes()[:-300])
    for file in (path, damaged, tmp_path / f"none{ending}"):
        with pytest.raises(WeightsError) as caught:
            initialize(vgg, "vgg16", file)
        assert f"{file} does not hold the weights of vgg16 without its classifier" in caught.value.message
        assert "\n" not in caught.value.message


def test_weights_that_are_not_finite_are_refused(vgg: keras.Model, tmp_path: Path) -> None:
    source = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    source.layers[-2].bias.assign(np.full(512, np.nan))
    source.save_weights(tmp_path / "x.weights.h5")
    with pytest.raises(WeightsError, match="some are not finite"):
        initialize(vgg, "vgg16", tmp_path / "x.weights.h5")


def test_without_a_network_imagenet_is_one_clear_line(
    vgg: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nothing listens
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))  # where nothing was downloaded before
    with pytest.raises(WeightsError) as caught:
        initialize(vgg, "vgg16", "imagenet")
    assert caught.value.message.startswith("ImageNet's weights of vgg16 cannot be downloaded: URL fetch failure")
    assert caught.value.message.endswith("name a file of them as `weights`, or null for random ones")
    assert "\n" not in caught.value.message


def test_what_is_frozen_stays_as_it_is_in_training() -> None:
    model = make("efficientnetv2_b0", frozen="all", dropout=0.0)  # which drops blocks in training
    backbone = model.get_layer("efficientnetv2-b0")
    assert {weight.path.split("/")[0] for weight in model.trainable_weights} == {"age", "gender"}
    before = backbone.get_weights()
    trained, served = model(PIXELS / 255, training=True), model(PIXELS / 255, training=False)
    assert np.array_equal(trained["age"], served["age"])
    assert all(np.array_equal(old, new) for old, new in zip(before, backbone.get_weights(), strict=True))


def test_the_first_layers_alone_are_frozen() -> None:
    model = make("efficientnetv2_b0", frozen=52)
    layers = model.get_layer("efficientnetv2-b0").layers
    normalizations = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert [layer.trainable for layer in layers] == [False] * 52 + [True] * (len(layers) - 52)
    before = [layer.moving_mean.numpy() for layer in normalizations]
    model(PIXELS / 255, training=True)
    moved = [not np.array_equal(old, layer.moving_mean) for old, layer in zip(before, normalizations, strict=True)]
    assert moved == [layer.trainable for layer in normalizations]


def test_a_branch_has_units_of_its_own() -> None:
    model = make("vgg16", hidden=7)
    assert model.count_params() == make("vgg16").count_params() - 2 * 513 + 2 * (512 * 7 + 7 + 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnet51"}, "backbone = 'resnet51': no such backbone; allowed: convnext_small, convnext_tiny"),
        ({"backbone": "vgg16", "weights": "x.pt"}, "allowed: null, imagenet, or a file ending in .h5, .keras"),
        ({"backbone": "vgg16", "frozen": "some"}, "'none' or 'all'"),
        ({"backbone": "vgg16", "frozen": 20}, "frozen = 20: vgg16 has 19 layers"),
        ({"backbone": "xception"}, "input_size = 32: xception takes at least 71 pixels a side"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        make(**arguments)
    assert message in caught.value.message
