"""The constants of a frozen TensorFlow graph that a Python package carries; the graph is read, never run."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from faceline.errors import SettingsError


def packaged(package: str, file: str, sha256: str, missing: str) -> bytes:
    """The file of an installed package, which is not imported.

    Args:
        package: its import name.
        sha256: what the file's SHA-256 has to be.
        missing: what the error says first where the package is not installed.

    Raises:
        SettingsError: the package or the file is not there, or it is another file.
    """
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(folders[0]) / file if folders else None
    if path is None or not path.is_file():
        raise SettingsError(f"{missing}; {package}/{file} is not installed")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise SettingsError(f"{path} is not the file that it should be: its SHA-256 is {found}, not {sha256}")
    return content


def constants(graph: bytes) -> dict[str, np.ndarray]:
    """The arrays of all constants of a serialized GraphDef, by their names in it."""
    import tensorflow as tf

    parsed = tf.compat.v1.GraphDef.FromString(graph)
    return {node.name: tf.make_ndarray(node.attr["value"].tensor) for node in parsed.node if node.op == "Const"}
