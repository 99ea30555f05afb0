"""Reference system C's own convolutional network; its transfer learning is the architecture `backbone`.

What is known of it is a trunk of convolutions and, for each of three targets, a branch of Dense, Dropout and Dense. The
trunk is our choice: stages of a 3×3 convolution, batch normalization and 2×2 pooling, each with twice the channels of
the one before, then global average pooling.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from faceline.learning.networks._branches import branches
from faceline.params import Settings

if TYPE_CHECKING:
    import keras

TARGETS = ("age", "gender", "race")


class Arguments(Settings):
    """The size of the network."""

    filters: Annotated[int, Field(ge=1, le=256)] = 32  # of the first stage
    stages: Annotated[int, Field(ge=1, le=6)] = 5  # each halves the picture's sides
    hidden: Annotated[int, Field(ge=1, le=4096)] = 128  # units of the dense layer of each branch
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3  # in each branch


def build(image: "keras.KerasTensor", targets: Sequence[str], arguments: Arguments) -> dict[str, "keras.KerasTensor"]:
    """Features (batch, hidden) of its own for each target."""
    from keras import layers

    x = image
    for stage in range(arguments.stages):
        x = layers.Conv2D(arguments.filters * 2**stage, 3, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return branches(x, targets, arguments.hidden, arguments.dropout)
