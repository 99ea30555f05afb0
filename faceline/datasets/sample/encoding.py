"""How a picture becomes the bytes of a file: as it should, in odd but right forms, and in wrong ones."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

MISSING = "missing"  # the form of a file that is not there
ORIENTATION = 0x0112  # EXIF tag
TURNED_RIGHT = 6  # its value for a picture that must be turned by 90° clockwise to be seen upright
HTML = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n"


def _jpeg(image: Image.Image, quality: int = 90, exif: Image.Exif | None = None) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, exif=exif or Image.Exif())
    return buffer.getvalue()


def _deep(image: Image.Image) -> bytes:
    """Grey of 16 bits, as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(buffer, "PNG")
    return buffer.getvalue()


def _truncated(image: Image.Image) -> bytes:
    whole = _jpeg(image)
    return whole[: len(whole) // 2]


def _turned(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_RIGHT
    return _jpeg(image.transpose(Image.Transpose.ROTATE_90), exif=exif)


FORMS: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg": _jpeg,
    "reencoded": lambda image: _jpeg(image, quality=60),
    "brightened": lambda image: _jpeg(image.point(lambda level: level * 1.05 + 4)),
    "grey": lambda image: _jpeg(image.convert("L")),
    "cmyk": lambda image: _jpeg(image.convert("CMYK")),
    "deep": _deep,
    "turned": _turned,
    "truncated": _truncated,
    "empty": lambda image: b"",
    "html": lambda image: HTML,
    "one_pixel": lambda image: _jpeg(image.resize((1, 1))),
}
