"""A backbone of keras.applications with global average pooling, from random or pretrained weights.

With Xception, frozen, or InceptionV3, its first 52 layers frozen, and a branch a target it is reference system C's
transfer learning. Weights are those of ImageNet, which Keras downloads, or a file as Keras writes them
(.weights.h5, .h5, .keras), of the backbone without its classifier (`include_top=False`).
"""

import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator

from faceline.errors import SettingsError, WeightsError
from faceline.learning.networks._branches import branches
from faceline.learning.networks._imagenet import Preprocessing, prepared
from faceline.params import Settings

if TYPE_CHECKING:
    import keras

TARGETS = ("age", "gender", "race")
SCALING = "symmetric"  # which `prepared` turns into what the weights were trained on
ENDINGS = (".h5", ".keras")  # of files of weights, .weights.h5 among them


class Kind(NamedTuple):
    """A function of keras.applications, the pixels its weights want, and the smallest picture it takes."""

    function: str
    preprocessing: Preprocessing
    smallest: int = 32  # pixels a side


KINDS = {
    "convnext_small": Kind("ConvNeXtSmall", "torch"),
    "convnext_tiny": Kind("ConvNeXtTiny", "torch"),
    "efficientnetv2_b0": Kind("EfficientNetV2B0", "torch"),
    "efficientnetv2_b1": Kind("EfficientNetV2B1", "torch"),
    "efficientnetv2_b2": Kind("EfficientNetV2B2", "torch"),
    "efficientnetv2_b3": Kind("EfficientNetV2B3", "torch"),
    "efficientnetv2_s": Kind("EfficientNetV2S", "tf"),
    "inception_v3": Kind("InceptionV3", "tf", 75),
    "resnet50": Kind("ResNet50", "caffe"),
    "vgg16": Kind("VGG16", "caffe"),
    "xception": Kind("Xception", "tf", 71),
}
OWN_PREPROCESSING = ("ConvNeXt", "EfficientNetV2")  # would hold theirs too if they were not told otherwise


class Arguments(Settings):
    """Which backbone, where its weights come from, which of them are trained, and what stands before the heads."""

    backbone: str
    weights: Literal["imagenet"] | Path | None = None  # None: random ones
    frozen: Literal["none", "all"] | Annotated[int, Field(ge=1)] = "none"  # a number: so many of its first layers
    hidden: Annotated[int, Field(ge=0, le=4096)] = 0  # units of a dense layer of each target's own; 0: none
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3  # before the heads

    @field_validator("backbone")
    @classmethod
    def _exists(cls, backbone: str) -> str:
        if backbone not in KINDS:
            raise ValueError(f"no such backbone; allowed: {', '.join(KINDS)}")
        return backbone

    @field_validator("weights")
    @classmethod
    def _readable(cls, weights: Path | str | None) -> Path | str | None:
        if isinstance(weights, Path) and weights.suffix not in ENDINGS:
            raise ValueError(f"allowed: null, imagenet, or a file ending in {', '.join(ENDINGS)}")
        return weights


def build(image: "keras.KerasTensor", targets: Sequence[str], arguments: Arguments) -> dict[str, "keras.KerasTensor"]:
    """The backbone's pooled features (batch, channels) for every target, or a branch (batch, hidden) each.

    Raises:
        SettingsError: pictures are too small for the backbone, or it has fewer layers than are to be frozen.
    """
    from keras import layers

    kind, side = KINDS[arguments.backbone], image.shape[1]
    if side < kind.smallest:
        raise SettingsError(f"input_size = {side}: {arguments.backbone} takes at least {kind.smallest} pixels a side")
    backbone = _make(arguments.backbone, side, weights=None)
    _freeze(backbone, arguments)
    x = layers.GlobalAveragePooling2D()(backbone(prepared(image, kind.preprocessing)))
    if arguments.hidden:
        return branches(x, targets, arguments.hidden, arguments.dropout)
    return dict.fromkeys(targets, layers.Dropout(arguments.dropout)(x))


def initialize(model: "keras.Model", arguments: Arguments) -> str | None:
    """Put ImageNet's weights, or those of the file, into the backbone.

    Raises:
        WeightsError: they cannot be had, or are of another network.
    """
    name, weights = arguments.backbone, arguments.weights
    if weights is None:
        return None
    backbone = next(layer for layer in model.layers if hasattr(layer, "layers"))
    side = backbone.input_shape[1]
    if weights == "imagenet":
        backbone.set_weights(_downloaded(name, side))
        return "starts from ImageNet's weights"
    # Files name layers by their kind, which others than Keras's may have taken the place of (`normalization.fused`).
    plain = _make(name, side, weights=None)
    _load(plain, Path(weights), f"the weights of {name} without its classifier, as Keras saves them")
    backbone.set_weights(plain.get_weights())
    return f"starts from the weights in {weights}"


def _make(name: str, side: int, weights: str | None) -> "keras.Model":
    from keras import applications

    function = KINDS[name].function
    options = {"include_preprocessing": False} if function.startswith(OWN_PREPROCESSING) else {}
    shape = (side, side, 3)
    return getattr(applications, function)(include_top=False, weights=weights, input_shape=shape, **options)


def _freeze(backbone: "keras.Model", arguments: Arguments) -> None:
    """Keep all or the first layers as they are, statistics of batch normalization included; no block is left out."""
    from keras import layers

    frozen, there = arguments.frozen, len(backbone.layers)
    count = frozen if isinstance(frozen, int) else {"none": 0, "all": there}[frozen]
    if count > there:
        raise SettingsError(f"frozen = {count}: {arguments.backbone} has {there} layers")
    for layer in backbone.layers[:count]:
        layer.trainable = False
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0


def _downloaded(name: str, side: int) -> list[Any]:
    try:
        weights: list[Any] = _make(name, side, weights="imagenet").get_weights()
    except Exception as error:  # noqa: BLE001 - Keras raises a bare Exception where it cannot download
        told = f"ImageNet's weights of {name} cannot be downloaded: {' '.join(str(error).split())}"
        advice = "name a file of them as `weights`, or null for random ones"
        raise WeightsError(f"{told}; {advice}") from None
    return weights


def _load(backbone: "keras.Model", path: Path, wanted: str) -> None:
    """Read a file of weights; `wanted` says what should be in it."""
    import numpy as np

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on how a file of another version of Keras is laid out
            backbone.load_weights(path)
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} does not hold {wanted}: {' '.join(str(error).split())[:200]}") from None
    if not all(np.isfinite(weight).all() for weight in backbone.get_weights()):
        raise WeightsError(f"{path} does not hold {wanted}: some are not finite")
