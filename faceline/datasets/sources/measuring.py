"""Decoding the pictures of a source once, on threads, to prove that it can be done, and measuring them.

Pictures come out in the order they went in, whatever the number of threads; a bounded number of them is read ahead.
"""

import hashlib
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

from faceline.datasets.sources.source import Item, Rejection, Sample
from faceline.datasets.tables import THUMBNAIL
from faceline.errors import PictureError
from faceline.faces.decoding import decode

AHEAD_ITEMS = 128  # pictures read ahead of the one that is handed out, at most
AHEAD_BYTES = 2**26  # of their encoded bytes, at most


@dataclass(frozen=True, slots=True)
class Measured:
    """A picture that could be decoded, and what is recorded of it."""

    sample: Sample
    image_id: str  # SHA-256 of the encoded picture
    width: int  # pixels, after turning by EXIF
    height: int
    phash: int  # 64 bits
    thumbnail: bytes  # THUMBNAIL x THUMBNAIL grey levels, row by row

    @property
    def path(self) -> str:
        """The row's key."""
        return self.sample.path


@dataclass(frozen=True)
class Measurer:
    """Decodes and measures within limits on `workers` threads."""

    max_pixels: int
    min_side: int  # pixels
    workers: int

    def measure(self, sample: Sample) -> Measured | Rejection:
        """Decode one picture and measure it, or say why it cannot be used.

        The perceptual hash is imagehash.phash: the lowest 8x8 frequencies of a DCT, each above their median or not.
        """
        try:
            pixels = decode(sample.data, max_pixels=self.max_pixels, min_side=self.min_side)
        except PictureError as error:
            return Rejection(sample.path, error.reason, error.detail)
        grey = Image.fromarray(pixels).convert("L")
        return Measured(
            sample=sample,
            image_id=hashlib.sha256(sample.data).hexdigest(),
            width=grey.width,
            height=grey.height,
            phash=int.from_bytes(np.packbits(imagehash.phash(grey).hash).tobytes(), "big"),
            thumbnail=grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes(),
        )

    def measure_all(self, items: Iterable[Item]) -> Iterator[Measured | Rejection]:
        """Each of `items` measured or rejected, in their order."""
        ahead: deque[tuple[int, Future[Measured | Rejection] | Rejection]] = deque()
        held = 0
        with _threads(self.workers) as pool:
            for item in items:
                size = len(item.data) if isinstance(item, Sample) else 0
                ahead.append((size, pool.submit(self.measure, item) if isinstance(item, Sample) else item))
                held += size
                while len(ahead) > AHEAD_ITEMS or held > AHEAD_BYTES:
                    size, first = ahead.popleft()
                    held -= size
                    yield first if isinstance(first, Rejection) else first.result()
            while ahead:
                _, first = ahead.popleft()
                yield first if isinstance(first, Rejection) else first.result()


@contextmanager
def _threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads for Pillow. What it warns of `decode` judges; its warning of a bomb becomes the error that it is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        pool = ThreadPoolExecutor(workers)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
