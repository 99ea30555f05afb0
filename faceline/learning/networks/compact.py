"""A small residual network for small crops: 107,000 weights at width 6, 1.6 million at width 24.

A stem of two 3×3 convolutions (the first with stride 2), then four stages of two residual blocks (He et al. 2015,
https://arxiv.org/abs/1512.03385) with width, 2, 4 and 8 times width channels, global average pooling and dropout.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from faceline.params import Settings

if TYPE_CHECKING:
    import keras

TARGETS = ("age", "gender", "race")
STAGES = (1, 2, 4, 8)  # channels, in widths
BLOCKS = 2  # a stage
MOMENTUM = 0.95  # of the running statistics; an epoch of the sample has only some twenty batches to settle them


class Arguments(Settings):
    """How wide the network is, and how much of its features is dropped in training."""

    width: Annotated[int, Field(ge=1, le=256)] = 24  # channels of the first stage
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3  # before the heads


def build(image: "keras.KerasTensor", targets: Sequence[str], arguments: Arguments) -> dict[str, "keras.KerasTensor"]:
    """The same pooled features (batch, 8 x width) for every target."""
    from keras import layers

    x = _convolution(image, arguments.width, 3, stride=2)
    x = _convolution(x, arguments.width, 3)
    for stage, widths in enumerate(STAGES):
        for block in range(BLOCKS):
            x = _block(x, widths * arguments.width, stride=2 if stage and not block else 1)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(arguments.dropout)(x)
    return dict.fromkeys(targets, x)


def _block(x: "keras.KerasTensor", channels: int, stride: int) -> "keras.KerasTensor":
    """Two convolutions and a shortcut; the shortcut is pooled and projected where the shape changes."""
    from keras import layers

    shortcut = x
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride, padding="same")(shortcut)
    if stride > 1 or x.shape[-1] != channels:
        shortcut = _convolution(shortcut, channels, 1, activation=None)
    x = _convolution(x, channels, 3, stride)
    x = _convolution(x, channels, 3, activation=None)
    return layers.Activation("relu")(layers.Add()([shortcut, x]))


def _convolution(
    x: "keras.KerasTensor", channels: int, kernel: int, stride: int = 1, activation: str | None = "relu"
) -> "keras.KerasTensor":
    from keras import layers

    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=MOMENTUM)(x)
    return layers.Activation(activation)(x) if activation else x
