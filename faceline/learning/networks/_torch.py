"""Reading a state dict that PyTorch saved (`torch.save`), without PyTorch and without the dangers of its pickles.

Both layouts of https://github.com/pytorch/pytorch/blob/main/torch/serialization.py are read: a zip of `data.pkl` and a
file a storage (PyTorch 1.6 and later), and the older one of pickles with the storages behind them (FairFace's are of
2019). A pickle may name only what a state dict needs, and each such name stands for something here that does nothing
else; sizes are bounded by that of the file.
"""

import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from faceline.errors import WeightsError

LARGEST_PICKLE = 4 * 2**20  # bytes; a ResNet-34's has 30,000
MOST_REMEMBERED = 2**20  # objects of a pickle; more would only be asked for to take up memory
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # with which the older layout begins
STORAGES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "DoubleStorage": "<f8", "LongStorage": "<i8"}
# What pickles of protocol 2 with dicts, tuples, lists, numbers, texts and calls consist of.
OPCODES = (
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "NONE", "NEWTRUE", "NEWFALSE", "BINUNICODE"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
)
FAULTS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)  # what damaged and hostile files bring about


class Storage(NamedTuple):
    """A file's run of numbers: their type, its key in the file, how many."""

    dtype: str
    key: str
    length: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.length * np.dtype(self.dtype).itemsize


class Tensor(NamedTuple):
    """A view of a storage; offset and strides in numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


Fetch = Callable[[Storage], bytes]


def read_state(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name; floats as float32.

    Raises:
        WeightsError: the file is missing, damaged or hostile, or holds something else.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            tensors, fetch = _zipped(file) if zipped else _older(file)
            _bounded(tensors.values(), path.stat().st_size)
            return {name: _array(tensor, fetch(tensor.storage)) for name, tensor in tensors.items()}
    except FAULTS as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(f"{path} is no state dict of PyTorch that can be read safely: {why}") from None


def _zipped(file: BinaryIO) -> tuple[Mapping[str, Tensor], Fetch]:
    archive = zipfile.ZipFile(file)
    pickled = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickled) != 1:
        raise ValueError(f"{len(pickled)} files in it are called data.pkl, not 1")
    root = pickled[0].removesuffix("data.pkl")

    def entry(name: str, size: int | None = None) -> bytes:
        info = archive.getinfo(root + name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != (info.file_size if size is None else size):
            raise ValueError(f"{name} is compressed, or not of the size that is told")
        return archive.read(info)

    if f"{root}byteorder" in archive.namelist() and entry("byteorder") != b"little":
        raise ValueError("its numbers are not little-endian")
    state = _unpickle(io.BytesIO(entry("data.pkl")[:LARGEST_PICKLE]))
    return _tensors(state), lambda storage: entry(f"data/{storage.key}", storage.size)


def _older(file: BinaryIO) -> tuple[Mapping[str, Tensor], Fetch]:
    file.seek(0)
    head = io.BytesIO(file.read(LARGEST_PICKLE))
    if _unpickle(head) != MAGIC or _unpickle(head) != PROTOCOL:
        raise ValueError("it begins like no file of PyTorch's")
    if not dict(_unpickle(head))["little_endian"]:
        raise ValueError("its numbers are not little-endian")
    tensors = _tensors(_unpickle(head))
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    keys, places = _unpickle(head), {}
    place = head.tell()
    for key in keys:
        places[key] = place
        place += 8 + storages[key].size

    def run(storage: Storage) -> bytes:
        file.seek(places[storage.key])
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.length:
            raise ValueError(f"storage {storage.key} has {count} numbers, not {storage.length}")
        return file.read(storage.size)

    return tensors, run


class _Unpickler(pickle.Unpickler):
    """Knows no name but those of a state dict; what stands for them is made anew each time, as a pickle may mark it."""

    def __init__(self, file: BinaryIO):
        super().__init__(file)

        def state() -> OrderedDict[str, Tensor]:  # an empty one, since filled ones could be copied without end
            return OrderedDict()

        def tensor(storage: Storage, offset: int, shape: Any, strides: Any, *_: Any) -> Tensor:
            return Tensor(storage, offset, tuple(shape), tuple(strides))

        def parameter(inner: Any, *_: Any) -> Any:
            return inner

        self._allowed: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): state,
            ("torch._utils", "_rebuild_tensor_v2"): tensor,
            ("torch._utils", "_rebuild_parameter"): parameter,
            **{("torch", name): dtype for name, dtype in STORAGES.items()},
        }

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name; nothing is imported."""
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no state dict needs")
        return self._allowed[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        """A storage, as ('storage', type, key, device, count) and, in the older layout, a view, which we don't take."""
        kind, dtype, key, _, count, *view = pid
        if kind != "storage" or dtype not in STORAGES.values() or type(count) is not int or any(view):
            raise pickle.UnpicklingError("a storage is not told as PyTorch tells it")
        return Storage(dtype, str(key), count)


def _unpickle(file: io.BytesIO) -> Any:
    """The next pickle of `file`, once its operations have been looked through without doing them."""
    start = file.tell()
    for opcode, argument, _ in pickletools.genops(file):
        remembered = (argument or 0) if opcode.name == "LONG_BINPUT" else 0  # C makes room for as many
        if opcode.name not in OPCODES or remembered > MOST_REMEMBERED:
            raise pickle.UnpicklingError(f"its pickle has {opcode.name}, which no state dict needs")
    end = file.tell()
    file.seek(start)
    found = _Unpickler(file).load()
    file.seek(end)
    return found


def _tensors(state: Any) -> dict[str, Tensor]:
    if not isinstance(state, dict):
        raise TypeError("it holds no dict")
    for name, tensor in dict.items(state):
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or not isinstance(tensor.storage, Storage):
            raise TypeError(f"{name!r} is no tensor")
        numbers = (tensor.offset, *tensor.shape, *tensor.strides)
        if len(tensor.shape) != len(tensor.strides) or any(type(n) is not int or n < 0 for n in numbers):
            raise ValueError(f"{name} has no sensible shape")
        last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
        if math.prod(tensor.shape) > tensor.storage.length or last >= tensor.storage.length:
            raise ValueError(f"{name} reaches beyond its storage")
    return dict(state)


def _bounded(tensors: Collection[Tensor], size: int) -> None:
    """Refuse more bytes than the file has: of storages, and of tensors, each of which becomes an array of its own."""
    stored = sum(storage.size for storage in {tensor.storage for tensor in tensors})
    read = sum(math.prod(tensor.shape) * np.dtype(tensor.storage.dtype).itemsize for tensor in tensors)
    if max(stored, read) > size:
        raise ValueError(f"its tensors are larger than the file, which has {size} bytes; is it cut off?")


def _array(tensor: Tensor, data: bytes) -> np.ndarray:
    if len(data) != tensor.storage.size:
        raise EOFError("it ends too soon")
    numbers = np.frombuffer(data, tensor.storage.dtype)[tensor.offset :]
    steps = [step * numbers.itemsize for step in tensor.strides]
    array = np.lib.stride_tricks.as_strided(numbers, tensor.shape, steps, writeable=False)
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
