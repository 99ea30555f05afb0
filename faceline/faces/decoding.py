"""The one reading of a picture: encoded bytes to upright RGB pixels, the same wherever a picture is read.

Bytes are hostile until proven otherwise: only a few formats are tried, sizes are checked before anything is decoded,
and whatever is wrong ends in a `PictureError` whose reason a rejected row can bear:

    empty_file          no bytes at all
    not_a_picture       of no known format (HTML named .jpg, say)
    unsupported_format  a picture, but of a format or kind of pixel outside the few that are read, or so built that it
                        would cost a decoder far more than its pixels do
    too_many_pixels     larger than allowed, by its header
    too_small           a side shorter than allowed, by its header
    truncated_picture   the header is good (or begins well), the rest is cut off or damaged
"""

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from faceline.errors import PictureError
from faceline.faces.costly import refuse_costly_file, refuse_costly_parts

Pixels = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
PIXELS_LIMIT = Image.MAX_IMAGE_PIXELS or 2**26  # Pillow's own guard against bombs; no setting may exceed it

# How files begin that Pillow is allowed to read; one that begins so and cannot be opened is cut off or damaged.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF87a", b"GIF89a", b"RIFF", b"II*\0", b"MM\0*")
# How some other pictures begin: (offset, bytes, name). Recognised here, so that no parser of theirs ever runs.
_UNSUPPORTED = (
    (4, b"ftyp", "AVIF or HEIF"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"8BPS", "PSD"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"P5", "PGM"),
    (0, b"P6", "PPM"),
    (0, b"<svg", "SVG"),
)
# What Pillow's decoders raise on damaged data.
_DAMAGE = (
    OSError,
    SyntaxError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


def decode(data: bytes, *, max_pixels: int, min_side: int = 1) -> Pixels:
    """The pixels of an encoded picture: uint8 (H, W, 3), RGB, turned upright by its EXIF orientation.

    16-bit grey keeps its high byte (as Pillow does for 16-bit colour), alpha is composited on white, grey, palette and
    CMYK become RGB; of an animation the first frame counts.

    Args:
        data: a JPEG, PNG, BMP, GIF, WEBP or TIFF file.
        max_pixels: width x height above this is refused before decoding; at most `PIXELS_LIMIT`.
        min_side: pixels; a picture with a shorter side is refused before decoding.

    Raises:
        PictureError: with one of the reasons that this module's docstring lists.
    """
    picture = _within(data, max_pixels, min_side)
    try:
        picture.load()
    except _DAMAGE as error:
        raise PictureError("truncated_picture", _line(error)) from None
    return np.asarray(_as_rgb(_upright(picture)))


def dimensions(data: bytes, *, max_pixels: int, min_side: int = 1) -> tuple[int, int]:
    """Width and height by the header of an encoded picture, before it is turned upright; nothing is decoded.

    Raises:
        PictureError: as `decode`, but for what only decoding shows.
    """
    return _within(data, max_pixels, min_side).size


def encode_png(pixels: Pixels) -> bytes:
    """`pixels`, uint8 (H, W) or (H, W, 3), as a PNG: lossless, and the same bytes every time.

    Only runs of a byte are looked for: a search for any repetition makes faces no smaller and takes four times as long.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=6, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def _within(data: bytes, max_pixels: int, min_side: int) -> Image.Image:
    """The picture with its header read, if its size is allowed."""
    picture = _open(data)
    width, height = picture.size
    if width * height > max_pixels:
        raise PictureError("too_many_pixels", f"{width}x{height}, more than {max_pixels} pixels")
    if min(width, height) < min_side:
        raise PictureError("too_small", f"{width}x{height}, a side below {min_side} pixels")
    refuse_costly_parts(picture, data)
    return picture


def _open(data: bytes) -> Image.Image:
    """The picture with its header read and nothing decoded."""
    if not data:
        raise PictureError("empty_file", "0 bytes")
    refuse_costly_file(data)
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError("too_many_pixels", _line(error)) from None
    except UnidentifiedImageError:
        for offset, signature, name in _UNSUPPORTED:
            if data.startswith(signature, offset):
                raise PictureError("unsupported_format", f"{name}; allowed: {', '.join(FORMATS)}") from None
        if data.startswith(_SIGNATURES):
            raise PictureError("truncated_picture", f"{len(data)} bytes, the header is incomplete") from None
        raise PictureError("not_a_picture", f"{len(data)} bytes of no known format") from None
    except _DAMAGE as error:
        raise PictureError("truncated_picture", _line(error)) from None


def _upright(picture: Image.Image) -> Image.Image:
    """`picture` turned by its EXIF orientation; as it is where the EXIF data are damaged and so say nothing."""
    try:
        return ImageOps.exif_transpose(picture)
    except _DAMAGE:
        return picture


def _as_rgb(picture: Image.Image) -> Image.Image:
    """`picture`, of any mode that the allowed formats have, as 8-bit RGB."""
    if picture.mode in _SIXTEEN_BITS:
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):  # 32-bit integers and floats: nothing says which value is white
        raise PictureError("unsupported_format", f"pixels of mode {picture.mode}")
    try:
        if picture.has_transparency_data:
            layer = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        return picture.convert("RGB")
    except ValueError as error:
        raise PictureError("unsupported_format", f"pixels of mode {picture.mode}: {_line(error)}") from None


def _line(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
