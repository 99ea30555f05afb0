"""The pixels of varied pictures, compiled: each is drawn in one go, while it lies in the processor's cache.

TensorFlow's operations would do the same in a dozen passes over the batch, several times slower (docs/results.md).
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit

from faceline.learning.pixels import GREY

LUMA = np.array(GREY, np.float32)
MID_GREY = np.float32(127.5)
ZERO, WHITE = np.float32(0), np.float32(255)

F = TypeVar("F", bound=Callable[..., Any])


def _compiled(function: F) -> F:
    """The function as machine code, which several threads may run at once."""
    machine_code: F = njit(nogil=True, cache=True, error_model="numpy")(function)
    return machine_code


class Variations(NamedTuple):
    """How each picture of a batch is varied; float32.

    Attributes:
        maps: (batch, 6), a to f: the result's pixel (x, y) shows the source's (a x + b y + c, d x + e y + f), bilinear;
            what would lie outside is what lies at the edge.
        tints: (batch, 3, 3), times a pixel's red, green and blue.
        contrasts: (batch,) factors about the picture's mean of each channel, after the tint.
        brightness: (batch,) grey levels added.
        greyed: (batch,) 1 for a picture that loses its colours in the end, else 0.
        erased: (batch, 3), in pixels of the result: centre down and across of a square, and half its side (0: none).
    """

    maps: np.ndarray
    tints: np.ndarray
    contrasts: np.ndarray
    brightness: np.ndarray
    greyed: np.ndarray
    erased: np.ndarray


class Taps(NamedTuple):
    """What each pixel of a shorter side is made of: source pixels from `first` on, with these weights (target, n)."""

    first: np.ndarray
    weights: np.ndarray


@lru_cache
def taps(source: int, target: int) -> Taps:
    """The taps that shrink `source` pixels to `target`, smoothly: triangles as wide as two pixels of the target.

    As TensorFlow's and Pillow's bilinear resizing with antialiasing.
    """
    ratio = source / target
    centres = (np.arange(target) + 0.5) * ratio
    width = min(math.ceil(2 * ratio), source)
    first = np.clip(np.floor(centres - ratio + 0.5).astype(np.int64), 0, source - width)
    places = first[:, None] + np.arange(width) + 0.5
    weights = np.maximum(0, 1 - np.abs(places - centres[:, None]) / ratio)
    return Taps(first, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


@_compiled
def shrink(pictures: np.ndarray, kept: Taps) -> np.ndarray:
    """Shrink pictures, uint8 (batch, source, source, 3), to float32 (batch, target, target, 3), 0 to 255."""
    source, (target, width) = pictures.shape[1], kept.weights.shape
    results = np.zeros((len(pictures), target, target, 3), np.float32)
    row = np.empty((source, 3), np.float32)
    for number in range(len(pictures)):
        for y in range(target):
            row[:] = 0
            for tap in range(width):
                weight, line = kept.weights[y, tap], pictures[number, kept.first[y] + tap]
                for x in range(source):
                    for channel in range(3):
                        row[x, channel] += weight * line[x, channel]
            for x in range(target):
                for tap in range(width):
                    weight, place = kept.weights[x, tap], kept.first[x] + tap
                    for channel in range(3):
                        results[number, y, x, channel] += weight * row[place, channel]
    return results


@_compiled
def render(pictures: np.ndarray, size: int, variations: Variations) -> np.ndarray:
    """Draw a batch.

    Args:
        pictures: (batch, side, side, 3), uint8 or float32, 0 to 255.
        size: pixels a side of the result.
        variations: of each picture.

    Returns:
        float32 (batch, size, size, 3), 0 to 255.
    """
    results = np.empty((len(pictures), size, size, 3), np.float32)
    for number in range(len(pictures)):
        result = results[number]
        _place(pictures[number], variations.maps[number], result)
        linear, added = _colours(result, number, variations)
        _colour(result, linear, added)
        _erase(result, variations.erased[number])
    return results


@_compiled
def _place(picture: np.ndarray, mapped: np.ndarray, result: np.ndarray) -> None:
    """Sample the picture where the map says."""
    last = np.float32(picture.shape[0] - 1)
    for y in range(result.shape[0]):
        for x in range(result.shape[1]):
            across = min(max(mapped[0] * np.float32(x) + mapped[1] * np.float32(y) + mapped[2], ZERO), last)
            down = min(max(mapped[3] * np.float32(x) + mapped[4] * np.float32(y) + mapped[5], ZERO), last)
            left, top = int(across), int(down)
            right, bottom = min(left + 1, int(last)), min(top + 1, int(last))
            to_right, to_bottom = across - np.float32(left), down - np.float32(top)
            for channel in range(3):
                start, end = np.float32(picture[top, left, channel]), np.float32(picture[top, right, channel])
                upper = start + to_right * (end - start)
                start, end = np.float32(picture[bottom, left, channel]), np.float32(picture[bottom, right, channel])
                lower = start + to_right * (end - start)
                result[y, x, channel] = upper + to_bottom * (lower - upper)


@_compiled
def _colours(result: np.ndarray, number: int, variations: Variations) -> tuple[np.ndarray, np.ndarray]:
    """Tint, contrast, brightness and grey as one affine map of a pixel's colours: a matrix, and what is added."""
    contrast = variations.contrasts[number]
    linear = variations.tints[number] * contrast
    added = np.full(3, variations.brightness[number], np.float32)
    if contrast != 1:
        added += (1 - contrast) * (variations.tints[number] @ _mean(result))
    if variations.greyed[number]:
        row, grey = LUMA @ linear, LUMA @ added
        for channel in range(3):
            linear[channel] = row
            added[channel] = grey
    return linear, added


@_compiled
def _mean(result: np.ndarray) -> np.ndarray:
    """The mean (3,) of each channel."""
    sums = np.zeros(3, np.float64)
    for y in range(result.shape[0]):
        for x in range(result.shape[1]):
            for channel in range(3):
                sums[channel] += result[y, x, channel]
    mean: np.ndarray = (sums / (result.shape[0] * result.shape[1])).astype(np.float32)
    return mean


@_compiled
def _colour(result: np.ndarray, linear: np.ndarray, added: np.ndarray) -> None:
    """Change the colours of all pixels, and cut off what is below black or above white."""
    if np.array_equal(linear, np.eye(3, dtype=np.float32)) and not added.any():
        return
    for y in range(result.shape[0]):
        for x in range(result.shape[1]):
            red, green, blue = result[y, x]
            for channel in range(3):
                value = linear[channel, 0] * red + linear[channel, 1] * green + linear[channel, 2] * blue
                result[y, x, channel] = min(max(value + added[channel], ZERO), WHITE)


@_compiled
def _erase(result: np.ndarray, erased: np.ndarray) -> None:
    """Set a square to mid grey: the pixels less than half a side from its centre.

    Random erasing, Zhong et al. 2017, https://arxiv.org/abs/1708.04896.
    """
    down, across, half = erased
    for y in range(result.shape[0]):
        if abs(np.float32(y) - down) < half:
            for x in range(result.shape[1]):
                if abs(np.float32(x) - across) < half:
                    result[y, x] = MID_GREY
