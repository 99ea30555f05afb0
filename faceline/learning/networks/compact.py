"""A residual network for small crops: 107,000 weights at width 6, 1.6 million at width 24, and larger ones for GPUs.

A stem of two 3×3 convolutions (the first with stride 2), then four stages of two residual blocks (He et al. 2015,
https://arxiv.org/abs/1512.03385) with width, 2, 4 and 8 times width channels, global average pooling and dropout.
Blocks may weigh their channels (squeeze and excitation, Hu et al. 2017, https://arxiv.org/abs/1709.01507) and be left
out at random in training (stochastic depth, Huang et al. 2016, https://arxiv.org/abs/1603.09382).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from faceline.params import Settings

if TYPE_CHECKING:
    import keras

TARGETS = ("age", "gender", "race")
STAGES = (1, 2, 4, 8)  # channels, in widths
MOMENTUM = 0.95  # of the running statistics; an epoch of the sample has only some twenty batches to settle them


class Arguments(Settings):
    """How large the network is, and how much of it is dropped in training."""

    width: Annotated[int, Field(ge=1, le=256)] = 24  # channels of the first stage
    blocks: Annotated[int, Field(ge=1, le=16)] = 2  # a stage
    stem_stride: Annotated[int, Field(ge=1, le=2)] = (
        2  # 1: all stages see twice the pixels a side, at four times the cost
    )
    squeeze: Annotated[int, Field(ge=1)] | None = None  # channels are weighed by a layer of so many times fewer units
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0  # how often the last block is left out; earlier ones less
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3  # before the heads


def build(image: "keras.KerasTensor", targets: Sequence[str], arguments: Arguments) -> dict[str, "keras.KerasTensor"]:
    """The same pooled features (batch, 8 x width) for every target."""
    from keras import layers

    x = _convolution(image, arguments.width, 3, stride=arguments.stem_stride)
    x = _convolution(x, arguments.width, 3)
    last = len(STAGES) * arguments.blocks - 1
    for stage, widths in enumerate(STAGES):
        for block in range(arguments.blocks):
            dropped = arguments.drop_path * (stage * arguments.blocks + block) / max(last, 1)
            x = _block(x, widths * arguments.width, 2 if stage and not block else 1, arguments.squeeze, dropped)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(arguments.dropout)(x)
    return dict.fromkeys(targets, x)


def _block(
    x: "keras.KerasTensor", channels: int, stride: int, squeeze: int | None, dropped: float
) -> "keras.KerasTensor":
    """Two convolutions and a shortcut; the shortcut is pooled and projected where the shape changes."""
    from keras import layers

    shortcut = x
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride, padding="same")(shortcut)
    if stride > 1 or x.shape[-1] != channels:
        shortcut = _convolution(shortcut, channels, 1, activation=None)
    x = _convolution(x, channels, 3, stride)
    x = _convolution(x, channels, 3, activation=None)
    x = _weighed(x, squeeze) if squeeze else x
    x = layers.Dropout(dropped, noise_shape=(None, 1, 1, 1))(x) if dropped else x
    return layers.Activation("relu")(layers.Add()([shortcut, x]))


def _weighed(x: "keras.KerasTensor", squeeze: int) -> "keras.KerasTensor":
    """Each channel times a weight from 0 to 1 that depends on the means of all."""
    from keras import layers

    weights = layers.GlobalAveragePooling2D(keepdims=True)(x)
    weights = layers.Conv2D(max(1, x.shape[-1] // squeeze), 1, activation="relu")(weights)
    weights = layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(weights)
    return layers.Multiply()([x, weights])


def _convolution(
    x: "keras.KerasTensor", channels: int, kernel: int, stride: int = 1, activation: str | None = "relu"
) -> "keras.KerasTensor":
    from keras import layers

    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=MOMENTUM)(x)
    return layers.Activation(activation)(x) if activation else x
