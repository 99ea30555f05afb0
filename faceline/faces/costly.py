"""Small files that cost a decoder minutes or gigabytes, told by their structure: their pixels say nothing of it.

What is refused is far from what cameras and programs write:

    JPEG   more than `SCANS` scans, each of which goes over the whole picture; more than `EXIFS` Exif segments, which
           Pillow appends to each other, copying all of them each time
    GIF    comments of more than `COMMENTS` bytes, which Pillow appends so, too, or a first image after `PREFACE` bytes
    BMP    run lengths, whose jumps write zeros without bound
    TIFF   compressed tiles, each of which libtiff unpacks whole, however large it says it is
    any    parts that cover the picture more than `COVERS` times
"""

import re

from PIL import Image

from faceline.errors import PictureError

SCANS = 100  # progressive encoders write some ten
EXIFS = 16  # of at most 64 KiB; cameras write one
COMMENTS = 2**16
PREFACE = 2**20  # metadata of editors (XMP) stand before the image
COVERS = 4  # once for each channel that is stored apart

# What ends the coded data of a scan: a marker, but for the zero that is stuffed behind a byte of data, and restarts.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_EXTENSION, _COMMENT, _IMAGE = 0x21, 0xFE, 0x2C  # of a GIF: how blocks begin


def refuse_costly_file(data: bytes) -> None:
    """Nothing, unless `data` is a JPEG or a GIF that costs too much; to be asked before Pillow opens it.

    Raises:
        PictureError: with the reason `unsupported_format`.
    """
    if data.startswith(b"\xff\xd8"):
        _refuse_costly_jpeg(data)
    elif data.startswith((b"GIF87a", b"GIF89a")):
        _refuse_costly_gif(data)


def refuse_costly_parts(picture: Image.Image) -> None:
    """Nothing, unless what is to be decoded of `picture`, which is open and not yet loaded, costs too much.

    Raises:
        PictureError: with the reason `unsupported_format`.
    """
    parts = getattr(picture, "tile", [])
    codecs = {part.codec_name for part in parts}
    if "bmp_rle" in codecs:
        raise _unsupported("a BMP of run lengths; uncompressed ones are read")
    if "libtiff" in codecs and 322 in picture.tag_v2:  # type: ignore[attr-defined] # TileWidth
        raise _unsupported("a TIFF of compressed tiles; of strips, or uncompressed, it is read")
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
        if marker in (_START_OF_IMAGE, _END_OF_IMAGE):
            continue
        scans += marker == _START_OF_SCAN
        exifs += marker == _APP1 and data.startswith(b"Exif\0\0", position + 2)
        if scans > SCANS:
            raise _unsupported(f"a JPEG of more than {SCANS} scans")
        if exifs > EXIFS:
            raise _unsupported(f"a JPEG of more than {EXIFS} Exif segments")
        position += max(2, int.from_bytes(data[position : position + 2], "big"))


def _refuse_costly_gif(data: bytes) -> None:
    flags = data[10] if len(data) > 10 else 0
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)  # behind the header and its palette
    comments = 0
    while position + 1 < len(data) and data[position] != _IMAGE:
        kind = data[position + 1] if data[position] == _EXTENSION else None
        end = _behind_blocks(data, position + 2) if kind is not None else position + 1
        if end > PREFACE:
            raise _unsupported(f"a GIF whose first image does not begin within {PREFACE} bytes")
        comments += end - position if kind == _COMMENT else 0
        if comments > COMMENTS:
            raise _unsupported(f"a GIF with comments of more than {COMMENTS} bytes")
        position = end


def _behind_blocks(data: bytes, position: int) -> int:
    """Behind an extension's blocks, each of which begins with its length: the last has length zero, or the data end."""
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return position + 1


def _unsupported(detail: str) -> PictureError:
    return PictureError("unsupported_format", detail)
