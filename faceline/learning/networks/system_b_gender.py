"""Reference system B's gender network: 63,074,753 parameters for pictures of 128×128 in colour."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from faceline.learning.networks._system_b import SystemBArguments, trunk

if TYPE_CHECKING:
    import keras

TARGETS = ("gender",)
Arguments = SystemBArguments


def build(
    image: "keras.KerasTensor", targets: Sequence[str], arguments: SystemBArguments
) -> dict[str, "keras.KerasTensor"]:
    """512 features for the head of gender."""
    from keras import layers

    x = layers.Dense(512, activation="relu")(trunk(image))
    x = layers.Dropout(arguments.dropout)(x)
    return dict.fromkeys(targets, x)
