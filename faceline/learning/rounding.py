"""Rounded weights, for small bundles: in half precision, and on a coarse grid that packs well.

`serving: {half_precision: true}` in a recipe rounds the trained weights to float16, half the bytes. With `rounding`
too, those of kernels become multiples of a step, so that few numbers remain, most of them small, and the file is
packed: rounding so and coding by frequency takes a quarter of a bit more than any other way at the same error (Gish
and Pierce 1968, https://doi.org/10.1109/TIT.1968.1054193); Han et al. 2016 did it to networks,
https://arxiv.org/abs/1510.00149.

All is rounded before anything is measured of it. Keras opens the file by itself and gives the weights back as float32:
the network answers from the file as it did when it was judged.
"""

import io
from typing import Any

import h5py
import keras
import numpy as np

from faceline.errors import TrainingError
from faceline.learning.forest_head import ForestHead
from faceline.learning.recipe import Serving

HALF = np.finfo(np.float16)
FEWEST = 64  # weights of a kernel that each of its outputs adds up; see `_adds_up_few`


def round_weights(model: keras.Model, serving: Serving) -> None:
    """Round each float32 weight as `serving` asks; whole numbers stay as they are.

    Raises:
        TrainingError: a weight is beyond what float16 holds, 65,504.
    """
    leaves = {id(layer.values) for layer in model.layers if isinstance(layer, ForestHead)}  # answers, no kernel
    for variable in model.variables if serving.half_precision else ():
        values = variable.numpy()
        if values.dtype != np.float32:
            continue
        largest = float(np.abs(values).max(initial=0))
        if largest > float(HALF.max):
            told = f"{variable.path} has a weight of {largest:g}, and float16 ends at 65504"
            raise TrainingError(f"{model.name}: {told}; set serving.half_precision to false")
        # Biases and normalizations weigh little and need all their digits, too.
        if serving.rounding and values.ndim > 1 and id(variable) not in leaves and not _adds_up_few(values):
            values = _on_grid(values, serving.rounding)
        variable.assign(values.astype(np.float16).astype(np.float32))


def halved(data: bytes) -> bytes:
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


def _adds_up_few(kernel: np.ndarray) -> bool:
    """Whether each output adds up so few products that errors of rounding don't cancel: depthwise and first kernels.

    Those weigh little. One step for all of a depthwise kernel would round whole channels to nothing: in FaceRes some
    are 300 times smaller than the rest.
    """
    depthwise = kernel.ndim == 4 and kernel.shape[-1] == 1  # height, width, channel, 1
    return depthwise or int(np.prod(kernel.shape[:-1])) < FEWEST


def _on_grid(values: np.ndarray, rounding: float) -> np.ndarray:
    """The nearest multiples of a step, `rounding` of the values' root mean square."""
    step = rounding * float(np.sqrt(np.mean(values**2, dtype=np.float64)))
    if step < HALF.tiny:  # all but zero
        return values
    return np.asarray(np.rint(values / step) * step, np.float32)
