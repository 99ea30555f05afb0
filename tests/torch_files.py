"""Files as PyTorch saves state dicts, byte by byte, in both of its layouts: PyTorch itself is not needed."""

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

KINDS = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage"}
OLDER_HEAD = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}})
EMPTY = b"ccollections\nOrderedDict\n)R"


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def integers(*values: int) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def tensor(key: str, array: np.ndarray, older: bool) -> bytes:
    """What rebuilds `array`, whose strides may be any, from the storage `key`."""
    kind = f"ctorch\n{KINDS[array.dtype.name]}\n".encode()
    storage = b"(" + text("storage") + kind + text(key) + text("cuda:0") + b"J" + struct.pack("<i", array.size)
    steps = [step // array.itemsize for step in array.strides]
    view = b"N" if older else b""
    rebuilt = (
        b"(" + storage + view + b"tQ" + b"K\x00" + integers(*array.shape) + integers(*steps) + b"\x89" + EMPTY + b"t"
    )
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + rebuilt + b"R"


def pickled(state: Mapping[str, np.ndarray], older: bool) -> bytes:
    """A state dict, with the attribute of versions that PyTorch gives it."""
    items = (text(name) + tensor(str(number), array, older) for number, (name, array) in enumerate(state.items()))
    metadata = b"}" + text("_metadata") + EMPTY + b"sb"
    return b"\x80\x02" + EMPTY + b"q\x00(" + b"".join(items) + b"u" + metadata + b"."


def write_state(
    path: Path, state: Mapping[str, np.ndarray], *, older: bool, data: bytes | None = None, compressed: bool = False
) -> Path:
    """Write a state dict; `data` stands in for its pickle."""
    data = pickled(state, older) if data is None else data
    # The memory of an array, in the order in which it lies there.
    storages = [array.ravel(order="K").tobytes() for array in state.values()]
    if older:
        parts = [*(pickle.dumps(part, 2) for part in OLDER_HEAD), data]
        parts.append(pickle.dumps([str(number) for number in range(len(storages))], 2))
        for array, storage in zip(state.values(), storages, strict=True):
            parts += [struct.pack("<q", array.size), storage]
        path.write_bytes(b"".join(parts))
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", b"little")
        for number, storage in enumerate(storages):
            archive.writestr(f"archive/data/{number}", storage)
        archive.writestr("archive/version", b"3\n")
    return path
