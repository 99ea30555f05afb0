"""Decoding: every kind of picture becomes upright RGB, every bad one a reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from faceline.errors import PictureError
from faceline.faces.decoding import decode, encode_png

LIMIT = 10**6


def gradient(height: int = 20, width: int = 30) -> np.ndarray:
    """A colour picture without symmetry."""
    down, right = np.mgrid[0:height, 0:width]
    return np.stack([down * 12, right * 8, (down + right) * 5], axis=2).astype(np.uint8)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def reason(data: bytes, max_pixels: int = LIMIT, min_side: int = 1) -> str:
    with pytest.raises(PictureError) as caught:
        decode(data, max_pixels=max_pixels, min_side=min_side)
    assert "\n" not in caught.value.detail
    return caught.value.reason


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes could fill."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    data = encoded(Image.fromarray(gradient()), kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(decode(data, max_pixels=LIMIT), gradient())


@pytest.mark.parametrize("orientation, back", [(1, 0), (3, 2), (6, 1), (8, 3)])
def test_exif_orientation_is_undone(orientation: int, back: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.rot90(gradient(), back)), "PNG", exif=exif)
    assert np.array_equal(decode(data, max_pixels=LIMIT), gradient())


@pytest.mark.filterwarnings("ignore:::PIL")  # it warns of the damage
def test_a_damaged_exif_leaves_the_picture_as_it_is() -> None:
    data = encoded(Image.fromarray(gradient()), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode(data, max_pixels=LIMIT).shape == (20, 30, 3)


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    levels = np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16)
    pixels = decode(encoded(Image.fromarray(levels), "PNG"), max_pixels=LIMIT)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels[..., 0], levels >> 8)


def test_alpha_is_composited_on_white() -> None:
    layer = np.dstack([gradient(), np.full((20, 30), 255, np.uint8)])
    layer[:5, :, 3] = 0
    pixels = decode(encoded(Image.fromarray(layer), "PNG"), max_pixels=LIMIT)
    assert (pixels[:5] == 255).all()
    assert np.array_equal(pixels[5:], gradient()[5:])


@pytest.mark.parametrize(
    "mode, kind", [("L", "PNG"), ("1", "PNG"), ("P", "GIF"), ("P", "PNG"), ("LA", "PNG"), ("CMYK", "JPEG")]
)
def test_other_modes_become_rgb(mode: str, kind: str) -> None:
    picture = Image.fromarray(gradient()).convert(mode)
    pixels = decode(encoded(picture, kind), max_pixels=LIMIT)
    expected = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.shape == (20, 30, 3)
    assert abs(pixels - expected).mean() < 4  # JPEG is lossy


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert tuple(decode(data, max_pixels=LIMIT)[0, 0]) == (255, 0, 0)


def test_each_bad_picture_has_its_reason() -> None:
    jpeg = encoded(Image.fromarray(gradient(200, 200)), "JPEG")
    assert reason(b"") == "empty_file"
    assert reason(b"<html>404 not found</html>") == "not_a_picture"
    assert reason(jpeg[: len(jpeg) // 2]) == "truncated_picture"
    assert reason(jpeg[:20]) == "truncated_picture"
    assert reason(jpeg, min_side=201) == "too_small"
    assert reason(jpeg, max_pixels=200 * 200 - 1) == "too_many_pixels"
    assert reason(encoded(Image.fromarray(gradient()), "PPM")) == "unsupported_format"
    assert reason(encoded(Image.fromarray(gradient()), "JPEG2000")) == "unsupported_format"
    assert reason(encoded(Image.new("F", (9, 9)), "TIFF")) == "unsupported_format"


def test_the_size_is_checked_before_anything_is_decoded() -> None:
    assert reason(bomb(5_000, 5_000)) == "too_many_pixels"  # 75 MB if it were decoded
    assert reason(bomb(100_000, 100_000)) == "too_many_pixels"  # beyond Pillow's own bound


@pytest.mark.filterwarnings("ignore:::PIL")  # it warns of the damage
@pytest.mark.parametrize("seed", range(60))
def test_damage_anywhere_is_a_reason_or_a_picture_but_no_crash(seed: int) -> None:
    random = np.random.default_rng(seed)
    kind = ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"][seed % 6]
    data = bytearray(encoded(Image.fromarray(gradient()), kind))
    for position in random.integers(0, len(data), 8):
        data[position] = random.integers(0, 256)
    try:
        assert decode(bytes(data), max_pixels=LIMIT).dtype == np.uint8
    except PictureError as error:
        assert error.reason


def test_png_is_lossless_and_the_same_every_time() -> None:
    assert encode_png(gradient()) == encode_png(gradient())
    assert np.array_equal(decode(encode_png(gradient()), max_pixels=LIMIT), gradient())
