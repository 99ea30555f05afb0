"""Reference system D's network for age and gender: 883,746 parameters for grey pictures of 48×48; race may join."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from faceline.params import Settings

if TYPE_CHECKING:
    import keras

TARGETS = ("age", "gender", "race")


class Arguments(Settings):
    """The variants that system D compared; the defaults are its base model."""

    filters: Annotated[int, Field(ge=1, le=256)] = 16  # of the first convolution; the others have 2, 4 and 4 times that
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # after the first dense layer
    l2: Annotated[float, Field(ge=0)] = 0.0  # weight of the L2 penalty on the first dense layer


def build(image: "keras.KerasTensor", targets: Sequence[str], arguments: Arguments) -> dict[str, "keras.KerasTensor"]:
    """The same 32 features for every head."""
    from keras import layers, regularizers

    x = layers.Conv2D(arguments.filters, 3, activation="relu")(image)
    x = layers.Conv2D(arguments.filters * 2, 3, activation="relu")(x)
    x = layers.MaxPooling2D(3)(x)
    x = layers.Conv2D(arguments.filters * 4, 3, activation="relu")(x)
    x = layers.Conv2D(arguments.filters * 4, 3, activation="relu")(x)
    x = layers.Flatten()(x)
    penalty = regularizers.L2(arguments.l2) if arguments.l2 else None
    x = layers.Dense(128, activation="relu", kernel_regularizer=penalty)(x)
    x = layers.Dropout(arguments.dropout)(x) if arguments.dropout else x
    x = layers.Dense(32, activation="relu")(x)
    return dict.fromkeys(targets, x)
