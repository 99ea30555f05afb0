"""Weights in half precision: a bundle of half the size, with `serving: {half_precision: true}` in the recipe.

The trained weights are rounded to float16 before anything is measured of them, and the network's file stores them so.
Keras gives them back as float32: the network answers from the file as it did when it was judged.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from faceline.errors import TrainingError

WEIGHTS = "model.weights.h5"  # in the zip that a `.keras` file is


def round_weights(model: keras.Model) -> None:
    """Round each float32 weight to the nearest float16; whole numbers stay as they are.

    Raises:
        TrainingError: a weight is beyond what float16 holds, 65,504.
    """
    for variable in model.variables:
        values = variable.numpy()
        if values.dtype != np.float32:
            continue
        largest = float(np.abs(values).max(initial=0))
        if largest > float(np.finfo(np.float16).max):
            told = f"{variable.path} has a weight of {largest:g}, and float16 ends at 65504"
            raise TrainingError(f"{model.name}: {told}; set serving.half_precision to false")
        variable.assign(values.astype(np.float16).astype(np.float32))


def shrink(path: Path) -> None:
    """Store the float32 weights of a `.keras` file as float16."""
    with zipfile.ZipFile(path) as archive:
        members = {info: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in members.items():
            archive.writestr(info, _halved(data) if info.filename == WEIGHTS else data)


def _halved(data: bytes) -> bytes:
    """An HDF5 file with each dataset of float32 as float16."""
    written = io.BytesIO()
    with h5py.File(io.BytesIO(data), "r") as source, h5py.File(written, "w") as target:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                values = item[()]
                target[name] = values.astype(np.float16) if values.dtype == np.float32 else values
            else:
                target.require_group(name)
            target[name].attrs.update(item.attrs)

        source.visititems(copy)
        target.attrs.update(source.attrs)
    return written.getvalue()
