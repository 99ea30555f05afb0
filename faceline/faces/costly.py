"""Small files that cost a decoder minutes or gigabytes, told by their structure: their pixels say nothing of it.

What is refused is far from what cameras and programs write:

    JPEG   more than `SCANS` scans, each of which goes over the whole picture; more than `EXIFS` Exif segments, which
           Pillow appends to each other, copying all of them each time
    GIF    comments of more than `COMMENTS` bytes, which Pillow appends so, too, or a first image after `PREFACE` bytes
    BMP    run lengths, whose jumps write zeros without bound
    TIFF   compressed tiles, each of which libtiff unpacks whole, however large it says it is
    any    more than `PARTS` parts, or such as cover the picture more than `COVERS` times

Of tags that lie one over another, in a TIFF or in Exif, no more is read than twice the bytes that there are.
"""

import re
from typing import IO, Literal

from PIL import Image, JpegImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from faceline.errors import PictureError

SCANS = 100  # progressive encoders write some ten
EXIFS = 16  # of at most 64 KiB; cameras write one
COMMENTS = 2**16
PREFACE = 2**20  # metadata of editors (XMP) stand before the image
COVERS = 6  # once for each channel that is stored apart
PARTS = 2**16
SPARE = 2**16  # bytes of tags that any file may have

# What ends the coded data of a scan: a marker, but for the zero that is stuffed behind a byte of data, and restarts.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_END_OF_IMAGE, _START_OF_SCAN, _APP1 = 0xD9, 0xDA, 0xE1
_EXTENSION, _COMMENT, _APPLICATION, _IMAGE = 0x21, 0xFE, 0xFF, 0x2C  # of a GIF: how blocks begin
_REPEATS = b"NETSCAPE2.0"  # the application behind whose name a block says how often an animation is shown
_BIG_TIFF = 43
_TILE_SIZE = (322, 323)  # the tags TileWidth and TileLength


def refuse_costly_file(data: bytes) -> None:
    """Nothing, unless `data` is a JPEG or a GIF that costs too much; to be asked before Pillow opens it.

    Raises:
        PictureError: with the reason `unsupported_format`.
    """
    if data.startswith(b"\xff\xd8"):
        _refuse_costly_jpeg(data)
    elif data.startswith((b"GIF87a", b"GIF89a")):
        _refuse_costly_gif(data)


def refuse_costly_parts(picture: Image.Image, data: bytes) -> None:
    """Nothing, unless what is to be decoded of `picture`, which is open and not yet loaded, costs too much.

    Args:
        picture: of Pillow.
        data: the file that it was opened from.

    Raises:
        PictureError: with the reason `unsupported_format`.
    """
    parts = getattr(picture, "tile", [])
    codecs = {part.codec_name for part in parts}
    if "bmp_rle" in codecs:
        raise _unsupported("a BMP of run lengths; uncompressed ones are read")
    if "libtiff" in codecs and _tiled(data):
        raise _unsupported("a TIFF of compressed tiles; of strips, or uncompressed, it is read")
    if len(parts) > PARTS:
        raise _unsupported(f"a picture of more than {PARTS} parts")
    boxes = [part.extents or (0, 0, *picture.size) for part in parts]
    covered = sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)
    if covered > COVERS * picture.width * picture.height:
        raise _unsupported(f"a picture of {len(parts)} parts that cover it more than {COVERS} times")


def _refuse_costly_jpeg(data: bytes) -> None:
    scans = exifs = 0
    position = 2
    while found := _MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        if marker == _END_OF_IMAGE and scans:
            return
        scans += marker == _START_OF_SCAN
        exifs += marker == _APP1 and data.startswith(b"Exif\0\0", position + 2)
        if scans > SCANS:
            raise _unsupported(f"a JPEG of more than {SCANS} scans")
        if exifs > EXIFS:
            raise _unsupported(f"a JPEG of more than {EXIFS} Exif segments")
        # Behind others Pillow or libjpeg reads on at once, and nothing may hide there.
        if JpegImagePlugin.MARKER.get(0xFF00 | marker, ("", "", None))[2]:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))


def _refuse_costly_gif(data: bytes) -> None:
    flags = data[10] if len(data) > 10 else 0
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)  # behind the header and its palette
    comments = 0
    while position + 1 < len(data) and data[position] != _IMAGE:
        kind = data[position + 1] if data[position] == _EXTENSION else None
        end = position + 1 if kind is None else _behind_extension(data, position + 2, kind)
        if end > PREFACE:
            raise _unsupported(f"a GIF whose first image does not begin within {PREFACE} bytes")
        comments += end - position if kind == _COMMENT else 0
        if comments > COMMENTS:
            raise _unsupported(f"a GIF with comments of more than {COMMENTS} bytes")
        position = end


def _behind_extension(data: bytes, position: int, kind: int) -> int:
    """Where Pillow reads on: but for comments an empty block ends an extension only if it is not the first one."""
    if kind != _COMMENT:
        repeats = kind == _APPLICATION and position < len(data) and data[position] >= len(_REPEATS)
        repeats = repeats and data.startswith(_REPEATS, position + 1)
        for _ in range(2 if repeats else 1):
            position += 1 + data[position] if position < len(data) else 0
    while position < len(data) and data[position]:  # each block begins with its length; the last has length zero
        position += 1 + data[position]
    return position + 1


def _tiled(data: bytes) -> bool:
    """Whether the first directory of a TIFF names a tile's size, by whatever type: libtiff takes more than Pillow."""
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    large = int.from_bytes(data[2:4], order) == _BIG_TIFF
    start = int.from_bytes(data[8:16] if large else data[4:8], order)
    head, step = (8, 20) if large else (2, 12)
    first, count = start + head, int.from_bytes(data[start : start + head], order)
    places = range(first, min(first + count * step, len(data)), step)
    return any(int.from_bytes(data[at : at + 2], order) in _TILE_SIZE for at in places)


class _Bounded:
    """A file of which no more is read than twice what it has: tags may lie one over another, and each is copied."""

    def __init__(self, file: IO[bytes]):
        self.tell, self.seek, self._read = file.tell, file.seek, file.read
        here = file.tell()
        self._left = 2 * file.seek(0, 2) + SPARE
        file.seek(here)

    def read(self, size: int = -1) -> bytes:
        data = self._read(size)
        self._left -= len(data)
        if self._left < 0:
            raise OSError("its tags lie one over another")
        return data


def _load_bounded(directory: ImageFileDirectory_v2, file: IO[bytes]) -> None:
    _load(directory, _Bounded(file))  # type: ignore[arg-type]


# Pillow reads the tags of TIFFs and of Exif here, some already as it opens a picture, and goes on with those that it
# has read where a file ends too soon. There is no other way to bound what it copies.
_load = ImageFileDirectory_v2.load
ImageFileDirectory_v2.load = _load_bounded  # type: ignore[method-assign, assignment]


def _unsupported(detail: str) -> PictureError:
    return PictureError("unsupported_format", detail)
