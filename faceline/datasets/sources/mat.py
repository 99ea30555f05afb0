"""Reading the one struct of a .mat file (MATLAB 5 to 7) with just the fields that are needed, in little memory.

`scipy.io.loadmat` builds an array for every cell and holds 1.7 KB a row of IMDB-WIKI's metadata (measured on 200,000
rows), more than labels may take; this holds 0.5 KB. The format is described in MathWorks' "MAT-File Format"; the
tests compare with scipy. Every size that the file claims is checked against the bytes that are there.
"""

import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_FILE = 2**28  # bytes
MAX_ROWS = 5_000_000  # of a column; IMDB has 460,723
MAX_INFLATED = 2**30  # bytes; of the struct, uncompressed

Column = list[str] | npt.NDArray[Any]

_HEADER = 128  # bytes before the first element
_COMPRESSED, _MATRIX = 15, 14  # types of element
_CELL, _STRUCT, _CHAR = 1, 2, 4  # classes of array; from 6 on they are numeric
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le"}

# RuntimeError and StopIteration: an array that ends before all of its elements
_DAMAGE = (struct.error, zlib.error, ValueError, LookupError, RuntimeError, StopIteration)


class MatError(Exception):
    """The bytes are not a .mat file of the kind that is read here; the message says why."""


def read_struct(data: bytes, wanted: dict[str, tuple[str, ...]]) -> tuple[str, dict[str, Column]]:
    """The first struct in the file whose name is in `wanted`: its name, and those of its wanted fields that it has.

    A numeric field becomes an array of its class, shape (N,); a field of cells the list of their texts, an empty
    string for an empty cell.

    Raises:
        MatError: not a .mat, of version 4 or 7.3, too large, damaged, or without such a struct.
    """
    if data[124:128] != b"\x00\x01IM":
        raise MatError("not a little-endian .mat of version 5 to 7 (one of version 7.3 must be saved with -v7)")
    try:
        for element in _variables(memoryview(data)):
            array = _Array(element)
            if array.name in wanted and array.kind == _STRUCT:
                fields = _struct_fields(array)
                return array.name, {name: _column(body) for name, body in fields if name in wanted[array.name]}
    except _DAMAGE as error:
        raise MatError(f"damaged or cut off: {error or type(error).__name__}") from None
    raise MatError(f"no struct named {' or '.join(wanted)}")


class _Array:
    """The head of an array: class, name, dimensions, and the elements of its body still to be read."""

    def __init__(self, body: memoryview):
        self.elements = _elements(body)
        self.kind, self.count, self.name = 0, 0, ""
        if not body:  # an empty cell may have no head at all
            return
        _, flags = next(self.elements)
        _, dimensions = next(self.elements)
        _, name = next(self.elements)
        self.kind = flags[0]
        self.count = int(np.prod(np.frombuffer(dimensions, "<i4"), dtype=np.int64))
        self.name = bytes(name).decode("latin-1")


def _variables(data: memoryview) -> Iterator[memoryview]:
    """The bodies of the file's arrays, inflated one at a time."""
    for kind, body in _elements(data[_HEADER:]):
        if kind == _COMPRESSED:
            inflater = zlib.decompressobj()
            inflated = inflater.decompress(body, MAX_INFLATED)
            if not inflater.eof:
                raise MatError(f"cut off, or larger than {MAX_INFLATED} bytes when inflated")
            yield from (inner for kind, inner in _elements(memoryview(inflated)) if kind == _MATRIX)
        elif kind == _MATRIX:
            yield body


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and bytes of each element in `data`."""
    position = 0
    while position < len(data):
        kind, size = struct.unpack_from("<II", data, position)
        if kind >> 16:  # a small element: type, size and up to four bytes share eight
            kind, size, start, following = kind & 0xFFFF, kind >> 16, position + 4, position + 8
        else:  # padded to eight bytes, except a compressed one
            start = position + 8
            following = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > len(data):
            raise ValueError(f"an element of {size} bytes reaches beyond the end")
        yield kind, data[start : start + size]
        position = following


def _struct_fields(array: _Array) -> Iterator[tuple[str, memoryview]]:
    """Name and body of each field of a 1x1 struct."""
    if array.count != 1:
        raise ValueError(f"a struct of {array.count} elements, not 1")
    _, length = next(array.elements)
    _, names = next(array.elements)
    (width,) = struct.unpack("<i", length)
    for start in range(0, len(names), width):
        _, body = next(array.elements)
        yield bytes(names[start : start + width]).split(b"\0")[0].decode("latin-1"), body


def _column(body: memoryview) -> Column:
    array = _Array(body)
    if array.count > MAX_ROWS:
        raise ValueError(f"{array.count} rows; at most {MAX_ROWS} are read")
    if array.kind == _CELL:
        texts = [_text(cell) for _, cell in islice(array.elements, array.count + 1)]
        if len(texts) != array.count:
            raise ValueError(f"not the {array.count} texts that are declared")
        return texts
    kind, numbers = next(array.elements)
    values = np.frombuffer(numbers, "<" + _NUMBERS[kind]).astype(_CLASSES[array.kind])
    if len(values) != array.count:
        raise ValueError(f"{len(values)} numbers where {array.count} are declared")
    return values


def _text(body: memoryview) -> str:
    """The text in a cell; empty for an empty cell and for one that holds no text."""
    array = _Array(body)
    if array.kind != _CHAR or not array.count:
        return ""
    kind, text = next(array.elements)
    return bytes(text).decode(_TEXT[kind], errors="replace")
