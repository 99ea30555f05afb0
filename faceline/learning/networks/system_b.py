"""Reference system B's networks for pictures of 128×128 in colour.

Learning age alone it has 31,716,033 parameters, gender alone 63,074,753; learning both it is B's variant with two
outputs on one trunk.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from faceline.params import Settings

if TYPE_CHECKING:
    import keras

TARGETS = ("age", "gender")
UNITS = {"age": (256, 512), "gender": (512,)}  # of the dense layers before each head


class Arguments(Settings):
    """What may be varied."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.4  # after each dense layer


def build(image: "keras.KerasTensor", targets: Sequence[str], arguments: Arguments) -> dict[str, "keras.KerasTensor"]:
    """512 features for each head."""
    from keras import layers

    trunk = _trunk(image)
    features = {}
    for target in targets:
        x = trunk
        for units in UNITS[target]:
            x = layers.Dense(units, activation="relu")(x)
            x = layers.Dropout(arguments.dropout)(x)
        features[target] = x
    return features


def _trunk(image: "keras.KerasTensor") -> "keras.KerasTensor":
    """Three convolutions, flattened: 123,008 features of a 128×128 picture."""
    from keras import layers

    x = layers.Conv2D(32, 3, 2, padding="same", activation="relu")(image)
    x = layers.MaxPooling2D(3, 2)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(128, 3, padding="same", activation="relu")(x)
    return layers.Flatten()(x)
