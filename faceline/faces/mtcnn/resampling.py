"""Pixels for the networks: levels of a picture's pyramid, and patches cut out of it.

Both give bit for bit what TensorFlow's `ResizeArea` and `CropAndResize` give on the normalized picture, as the package
calls them, so the networks see the same numbers; several times faster, because a level is summed by columns, then by
rows, with vector instructions, and because no copy of the picture in floating point is made.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

Cells = np.ndarray
WEIGHTS_KEPT = 4096  # lengths remembered: a dataset of pictures of all sizes has thousands
MEAN, DEVIATION = np.float32(127.5), np.float32(128)  # the package's normalization, exact in 32 bits


class Shares(NamedTuple):
    """How one side of a picture is shared out among the cells of a shorter side; one entry a cell.

    Attributes:
        start, end: first source pixel, and one past the last.
        first, last: weight of the first and of the last source pixel; those between weigh 1.
        length: source pixels a cell.
    """

    start: np.ndarray
    end: np.ndarray
    first: np.ndarray
    last: np.ndarray
    length: np.float32


@lru_cache(WEIGHTS_KEPT)
def shares(source: int, target: int) -> Shares:
    """The shares of `source` pixels in `target` cells, in the arithmetic of TensorFlow's resize_area_op.cc."""
    length = np.float32(source) / np.float32(target)
    low = np.arange(target, dtype=np.float32) * length
    high = np.arange(1, target + 1, dtype=np.float32) * length
    start, end = np.floor(low).astype(np.int64), np.ceil(high).astype(np.int64)

    def weight(pixel: np.ndarray) -> np.ndarray:
        left, right = pixel.astype(np.float32), (pixel + 1).astype(np.float32)
        within = np.where(right > high, length, right - low)
        beyond = np.where(right > high, high - left, np.float32(1))
        return np.where(left < low, within, beyond).astype(np.float32)

    return Shares(start, end, weight(start), weight(end - 1), length)


def turned(picture: np.ndarray) -> np.ndarray:
    """The picture with its rows as last axis, so that sums over columns run along memory.

    Args:
        picture: RGB uint8 (height, width, 3).

    Returns:
        uint8 (3 · width, height).
    """
    return np.ascontiguousarray(picture.reshape(picture.shape[0], -1).T)


def shrink(columns: np.ndarray, level: np.ndarray) -> None:
    """Write one level of a picture's pyramid: the mean of the normalized pixels that each of its cells covers.

    Args:
        columns: the picture, `turned`.
        level: float32 (height, width, 3) to fill, no larger than the picture.
    """
    height, width, _ = level.shape
    across, down = shares(columns.shape[0] // 3, width), shares(columns.shape[1], height)
    sums = np.empty((columns.shape[1], 3 * width), np.float32)
    _sum_across(columns, across, sums)
    _mean_down(sums, down, np.float32(1 / float(down.length * across.length)), level.reshape(height, -1))


@njit(cache=True)
def _sum_across(columns, across, sums):  # type: ignore[no-untyped-def]
    """Of each row of the picture the weighted sums over the columns of each cell, into `sums` (height, 3 · width)."""
    height = columns.shape[1]
    edge = columns.shape[0] // 3 - 1  # a rounding error may let the last cell reach past it
    total = np.empty(height, np.float32)
    for x in range(across.start.size):
        start, end, first, last = across.start[x], across.end[x], across.first[x], across.last[x]
        for channel in range(3):
            column = columns[3 * min(start, edge) + channel]
            for y in range(height):
                total[y] = (np.float32(column[y]) - MEAN) / DEVIATION * first
            if start + 1 != end:
                for between in range(start + 1, end - 1):
                    column = columns[3 * min(between, edge) + channel]
                    for y in range(height):
                        total[y] += (np.float32(column[y]) - MEAN) / DEVIATION
                column = columns[3 * min(end - 1, edge) + channel]
                for y in range(height):
                    total[y] += (np.float32(column[y]) - MEAN) / DEVIATION * last
            for y in range(height):
                sums[y, 3 * x + channel] = total[y]


@njit(cache=True)
def _mean_down(sums, down, scale, level):  # type: ignore[no-untyped-def]
    """The weighted sums of those over the rows of each cell, scaled to means, into `level` (cells down, 3 · width)."""
    edge = sums.shape[0] - 1
    for y in range(down.start.size):
        start, end, first, last = down.start[y], down.end[y], down.first[y], down.last[y]
        for x in range(sums.shape[1]):  # spelt out: on whole rows numba would make a temporary one for each operation
            level[y, x] = sums[min(start, edge), x] * first
        if start + 1 != end:
            for between in range(start + 1, end - 1):
                for x in range(sums.shape[1]):
                    level[y, x] += sums[min(between, edge), x]
            for x in range(sums.shape[1]):
                level[y, x] += sums[min(end - 1, edge), x] * last
        for x in range(sums.shape[1]):
            level[y, x] *= scale


@njit(cache=True)
def cut(picture, boxes, patches):  # type: ignore[no-untyped-def]
    """Cut normalized patches out of a picture, bilinear, 0 outside of it.

    Args:
        picture: RGB uint8 (height, width, 3).
        boxes: float64 (n, 4 or more): x1, y1, x2, y2 first, pixels.
        patches: float32 (n, side, side, 3) to fill.
    """
    height, width, _ = picture.shape
    side = patches.shape[1]
    none = np.int64(-1)
    steps = np.float32(side - 1)
    left, right = np.empty(side, np.int64), np.empty(side, np.int64)
    shift = np.empty(side, np.float32)
    for index in range(boxes.shape[0]):
        y1, y2 = np.float32(boxes[index, 1] / height), np.float32(boxes[index, 3] / height)
        x1, x2 = np.float32(boxes[index, 0] / width), np.float32(boxes[index, 2] / width)
        down = (y2 - y1) * np.float32(height - 1) / steps
        across = (x2 - x1) * np.float32(width - 1) / steps
        for x in range(side):
            place = x1 * np.float32(width - 1) + np.float32(x) * across
            inside = (place >= 0) & (place <= width - 1)
            left[x] = np.int64(np.floor(place)) if inside else none
            right[x] = np.int64(np.ceil(place)) if inside else none
            shift[x] = place - np.float32(left[x])
        for y in range(side):
            place = y1 * np.float32(height - 1) + np.float32(y) * down
            outside = not ((place >= 0) & (place <= height - 1))
            above = np.int64(0) if outside else np.int64(np.floor(place))
            below = np.int64(0) if outside else np.int64(np.ceil(place))
            fall = place - np.float32(above)
            for x in range(side):
                for channel in range(3):
                    if outside or left[x] < 0:
                        patches[index, y, x, channel] = 0
                        continue
                    top_left = (np.float32(picture[above, left[x], channel]) - MEAN) / DEVIATION
                    top_right = (np.float32(picture[above, right[x], channel]) - MEAN) / DEVIATION
                    low_left = (np.float32(picture[below, left[x], channel]) - MEAN) / DEVIATION
                    low_right = (np.float32(picture[below, right[x], channel]) - MEAN) / DEVIATION
                    top = top_left + (top_right - top_left) * shift[x]
                    bottom = low_left + (low_right - low_left) * shift[x]
                    patches[index, y, x, channel] = top + (bottom - top) * fall
