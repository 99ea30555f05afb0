"""The branch of hidden units that each target may have of its own, between a shared trunk and its head."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def branches(
    trunk: "keras.KerasTensor", targets: Sequence[str], units: int, dropout: float
) -> dict[str, "keras.KerasTensor"]:
    """A dense layer and dropout a target, as reference system C has them: features (batch, units) each."""
    from keras import layers

    return {
        target: layers.Dropout(dropout)(layers.Dense(units, activation="relu")(trunk))  # the head is dense too
        for target in targets
    }
