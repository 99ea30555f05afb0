"""The trunk that reference system B's age and gender networks share."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from faceline.params import Settings

if TYPE_CHECKING:
    import keras


class SystemBArguments(Settings):
    """What may be varied of system B's networks."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.4  # after each dense layer


def trunk(image: "keras.KerasTensor") -> "keras.KerasTensor":
    """Three convolutions, flattened: 123,008 features of a 128×128 picture."""
    from keras import layers

    x = layers.Conv2D(32, 3, 2, padding="same", activation="relu")(image)
    x = layers.MaxPooling2D(3, 2)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(128, 3, padding="same", activation="relu")(x)
    return layers.Flatten()(x)
