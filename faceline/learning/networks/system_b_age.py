"""Reference system B's age network: 31,716,033 parameters for pictures of 128×128 in colour."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from faceline.learning.networks._system_b import SystemBArguments, trunk

if TYPE_CHECKING:
    import keras

TARGETS = ("age",)
Arguments = SystemBArguments


def build(
    image: "keras.KerasTensor", targets: Sequence[str], arguments: SystemBArguments
) -> dict[str, "keras.KerasTensor"]:
    """512 features for the head of age."""
    from keras import layers

    x = trunk(image)
    for units in (256, 512):
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(arguments.dropout)(x)
    return dict.fromkeys(targets, x)
