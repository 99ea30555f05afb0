"""A small convolutional network for reference system E, whose age and gender networks are trained apart.

E's report gives their heads and losses but not their layers, so these are our choice, as plain as its time's: four 3×3
convolutions with 2×2 pooling, flattened, one dense layer with dropout.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from faceline.params import Settings

if TYPE_CHECKING:
    import keras

TARGETS = ("age", "gender")
CHANNELS = (32, 64, 128, 256)


class Arguments(Settings):
    """The size of the last layer, and how much of it is dropped in training."""

    hidden: Annotated[int, Field(ge=1, le=4096)] = 256  # units
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3


def build(image: "keras.KerasTensor", targets: Sequence[str], arguments: Arguments) -> dict[str, "keras.KerasTensor"]:
    """The same features (batch, hidden) for every target."""
    from keras import layers

    x = image
    for channels in CHANNELS:
        x = layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Dense(arguments.hidden, activation="relu")(layers.Flatten()(x))
    x = layers.Dropout(arguments.dropout)(x)
    return dict.fromkeys(targets, x)
