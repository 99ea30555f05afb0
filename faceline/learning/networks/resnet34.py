"""ResNet-34 (He et al. 2015, https://arxiv.org/abs/1512.03385) as torchvision has it, for reference system A.

Pictures are padded as PyTorch pads them, so that weights trained there give the same numbers here. They come from a
checkpoint of torchvision's or FairFace's ResNet-34 (https://github.com/joojs/fairface), whose last layer is dropped.
Each layer is called as in the checkpoint, with underscores for dots: layer1_0_conv1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from faceline.errors import WeightsError
from faceline.learning.networks._imagenet import prepared
from faceline.learning.networks._torch import read_state
from faceline.params import Settings

if TYPE_CHECKING:
    import keras

TARGETS = ("age", "gender", "race")
SCALING = "symmetric"  # which `prepared` turns into what the weights were trained on
BLOCKS = (3, 4, 6, 3)  # a stage
EPSILON, MOMENTUM = 1e-5, 0.9  # of batch normalization: PyTorch's defaults (its momentum is 1 less ours)
IGNORED = ("fc.weight", "fc.bias", "num_batches_tracked")  # of a checkpoint: the last layer, and counts of steps
# A layer's weights as a checkpoint calls them, in Keras's order.
CONVOLUTION = ("weight",)
NORMALIZATION = ("weight", "bias", "running_mean", "running_var")


class Arguments(Settings):
    """Where the weights come from."""

    weights: Path | None = None  # a checkpoint (.pt, .pth); None: random ones


def build(image: "keras.KerasTensor", targets: Sequence[str], arguments: Arguments) -> dict[str, "keras.KerasTensor"]:
    """The same 512 pooled features for every target."""
    from keras import layers

    x = _convolution(prepared(image, "torch"), 64, 7, 2, ("conv1", "bn1"))
    x = layers.Activation("relu")(x)
    x = layers.ZeroPadding2D(1)(x)  # zeros are as good as nothing here: no value is below
    x = layers.MaxPooling2D(3, 2)(x)
    for stage, blocks in enumerate(BLOCKS):
        for block in range(blocks):
            x = _block(x, 64 * 2**stage, 2 if stage and not block else 1, f"layer{stage + 1}_{block}")
    return dict.fromkeys(targets, layers.GlobalAveragePooling2D()(x))


def initialize(model: "keras.Model", arguments: Arguments) -> str | None:
    """Put the weights of the checkpoint into the network.

    Raises:
        WeightsError: the file is not a checkpoint, or not one of a ResNet-34.
    """
    import numpy as np

    path = arguments.weights
    if path is None:
        return None
    state = {name.removeprefix("module."): value for name, value in read_state(path).items()}  # of DataParallel
    variables = _variables(model)
    unknown = [name for name in state if name not in variables and not name.endswith(IGNORED)]
    for name, variable in variables.items():
        value = state.get(name)
        if value is None or unknown:
            what = f"has {unknown[0]} too" if unknown else f"lacks {name}"
            raise WeightsError(f"{path} {what}; expected a state dict of a ResNet-34 of torchvision or FairFace")
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)  # from (out, in, rows, columns)
        if value.shape != tuple(variable.shape) or not np.isfinite(value).all():
            wanted = f"finite numbers, {tuple(variable.shape)}"
            raise WeightsError(f"{path}: {name} is {value.shape} or not finite; expected {wanted}")
        variable.assign(value)
    return f"starts from the weights in {path}"


def _variables(model: "keras.Model") -> dict[str, "keras.Variable"]:
    """The variables of the network, heads left out, by their names in a checkpoint."""
    from keras import layers

    kinds = ((layers.Conv2D, CONVOLUTION), (layers.BatchNormalization, NORMALIZATION))
    return {
        f"{layer.name.replace('_', '.')}.{name}": variable
        for layer in model.layers
        for kind, names in kinds
        if isinstance(layer, kind)
        for name, variable in zip(names, layer.weights, strict=True)
    }


def _block(x: "keras.KerasTensor", channels: int, stride: int, name: str) -> "keras.KerasTensor":
    """Two convolutions and a shortcut, which is projected where the shape changes."""
    from keras import layers

    shortcut = x
    if stride > 1:
        shortcut = _convolution(x, channels, 1, stride, (f"{name}_downsample_0", f"{name}_downsample_1"))
    x = layers.Activation("relu")(_convolution(x, channels, 3, stride, (f"{name}_conv1", f"{name}_bn1")))
    x = _convolution(x, channels, 3, 1, (f"{name}_conv2", f"{name}_bn2"))
    return layers.Activation("relu")(layers.Add()([shortcut, x]))


def _convolution(
    x: "keras.KerasTensor", channels: int, kernel: int, stride: int, names: tuple[str, str]
) -> "keras.KerasTensor":
    """A convolution with as much padding on each side, and normalization."""
    from keras import initializers, layers

    he = initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")  # torchvision's kaiming_normal_
    x = layers.ZeroPadding2D(kernel // 2)(x) if kernel > 1 else x
    x = layers.Conv2D(channels, kernel, stride, use_bias=False, kernel_initializer=he, name=names[0])(x)
    return layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=names[1])(x)
