"""The state of a training after an epoch, in one file, so that a killed training goes on from there to the same end.

It lies in the store and is only ever replaced whole. It holds every variable of the network (weights, statistics of
normalization, states of random generators) and of the optimizer (moments, averages, step, learning rate), the best
weights so far, and the `Progress`. A training may go on where another precision is computed in. Beside it lies the
history so far as JSON, for whoever watches the training.
"""

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from faceline.files import atomic_file

Arrays = list[np.ndarray]


@dataclasses.dataclass
class Progress:
    """Where a training stands.

    Attributes:
        epoch: epochs done.
        best: the lowest validation loss so far, and waited: epochs since.
        held: epochs since the validation loss or the learning rate last fell.
        finished: no epoch is to follow.
        history: a row an epoch, as in history.csv.
    """

    epoch: int = 0
    best: float = float("inf")
    waited: int = 0
    held: int = 0
    finished: bool = False
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def save(path: Path, model: keras.Model, best: Arrays, progress: Progress) -> None:
    """Write the state of a compiled and built `model`, its best weights and the progress."""
    state = {**_variables(model), "best": best}
    arrays: dict[str, Any] = {}
    for group, values in state.items():
        arrays |= {f"{group}_{index}": np.asarray(value) for index, value in enumerate(values)}
    with atomic_file(path) as partial, partial.open("wb") as file:
        np.savez(file, progress=np.array(json.dumps(dataclasses.asdict(progress))), **arrays)
    with atomic_file(path.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(progress.history), encoding="utf-8")


def restore(path: Path, model: keras.Model) -> tuple[Arrays, Progress]:
    """Put a saved state into `model`; the best weights and the progress.

    Where there is none, or a damaged one, the training is at its start: the weights that `model` has.
    """
    try:
        with path.open("rb") as file, np.load(file) as saved:  # np.load(path) leaves a damaged file open
            arrays = dict(saved)  # read whole before anything is changed
        progress = Progress(**json.loads(str(arrays["progress"])))
    except (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile):
        return model.get_weights(), Progress()
    for group, variables in _variables(model).items():
        if group == "scale" and "scale_0" not in arrays:
            continue  # it went so far where no loss is scaled, as in bfloat16
        for index, variable in enumerate(variables):
            variable.assign(arrays[f"{group}_{index}"])
    return [arrays[f"best_{index}"] for index in range(len(model.weights))], progress


def _variables(model: keras.Model) -> dict[str, Any]:
    """The variables by group; those of the scaling of the loss, which float16 alone has, in one of their own."""
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    known = {id(variable) for variable in inner.variables}
    scale = [variable for variable in optimizer.variables if id(variable) not in known]
    return {"network": model.variables, "optimizer": inner.variables, "scale": scale}
