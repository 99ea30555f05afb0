"""Pictures to measure detection on: chips of one size with one face, and photos of many sizes with several."""

import io
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from faceline.datasets.labels import Gender, Race
from faceline.datasets.sample.picture import Shot, Sitter, take
from faceline.datasets.sources.archive import members

UTKFACE = Path("data/raw/utkface/UTKFace.tar.gz")
CHIP = 200  # pixels a side, as UTKFace's
PORTRAITS = 150  # rendered once, then pasted in other sizes


def chips(count: int) -> tuple[str, list[bytes]]:
    """Encoded pictures of 200×200 pixels: the first of UTKFace where its archive lies, else of the rendered sample."""
    if UTKFACE.exists():
        found = (member.read() for member in members(UTKFACE) if member.name.endswith(".jpg"))
        return "UTKFace", list(islice(found, count))
    return "sample", [_jpeg(take(_shot(number, CHIP))) for number in range(count)]


def photos(count: int, *, seed: int = 0, shortest: int = 300, longest: int = 640) -> Iterator[bytes]:
    """Encoded composites: one to four rendered people, of any size, before a background; sides drawn evenly."""
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        width, height = (int(side) for side in rng.integers(shortest, longest + 1, 2))
        photo = _background(rng, width, height)
        for _ in range(int(rng.integers(1, 5))):
            side = int(rng.uniform(0.2, 0.6) * min(width, height))
            portrait = _portrait(int(rng.integers(PORTRAITS))).resize((side, side), Image.Resampling.BICUBIC)
            if rng.random() < 0.5:
                portrait = portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            photo.paste(portrait, (int(rng.integers(width - side)), int(rng.integers(height - side))), _vignette(side))
        yield _jpeg(photo)


def _background(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Blots of all sizes, from sky to gravel."""
    total = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((3, 90), (12, 50), (50, 30), (200, 15)):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32) * (weight / 185)
    return Image.fromarray(total.astype(np.uint8))


@cache
def _portrait(number: int) -> Image.Image:
    return take(_shot(number, 256))


@cache
def _vignette(side: int) -> Image.Image:
    """A mask that lets the edge of a portrait fade into the background."""
    edge = side // 12
    mask = Image.new("L", (side, side), 0)
    mask.paste(255, (edge, edge, side - edge, side - edge))
    return mask.filter(ImageFilter.GaussianBlur(edge / 2))


def _shot(number: int, size: int) -> Shot:
    sitter = Sitter((number,), 5 + number * 7 % 80, Gender(number % 2), Race(number % 5))
    return Shot((number,), size, (sitter,))


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
