"""Levels of pyramids of any sizes put together for P-Net: those alike in stacks, the others side by side on sheets.

A network's kernels are built anew for each size of input, which on pictures of many sizes takes longer than the work
itself and holds memory for each. So only levels of which there are many of one size make a batch of their own; all
others are laid on sheets of a few sizes, larger ones cut into pieces. The answers are those of each level alone, bit
for bit: P-Net's layers see no further than a piece, but for its pooling at an odd edge, where a mask keeps the
neighbour's numbers out.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

SIDE = 512  # pixels of a sheet
STEP = 64  # pixels by which a sheet that is not full is shorter
STACK, STACK_PIXELS = 32, 100_000  # levels of one size in a stack, and pixels at most
REACH, STRIDE = 12, 2  # of P-Net: pixels that one answer sees, and pixels between two answers
NEVER = np.float32(1e30)  # beyond every number of the network: its negative never wins a maximum


class Piece(NamedTuple):
    """A rectangle of a level, pixels: `top` and `left` are even, so that its answers are answers of the level."""

    level: int
    top: int
    left: int
    height: int
    width: int


class Placed(NamedTuple):
    """A piece and where it lies on its sheet, pixels, both even."""

    piece: Piece
    y: int
    x: int


def answers(side: int) -> int:
    """How many answers P-Net gives along a side of so many pixels."""
    return max(0, -(-(side - 2) // STRIDE) - 4)


def stacked(shapes: Sequence[tuple[int, ...]]) -> tuple[list[list[int]], list[int]]:
    """Which levels of these (height, width) make stacks, and which are left over; by index.

    Stacks of one size are of one length, so that they share their kernels.
    """
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, shape in enumerate(shapes):
        alike[shape].append(index)
    stacks, loose = [], []
    for (height, width), levels in alike.items():
        size = min(STACK, STACK_PIXELS // (height * width)) if answers(height) and answers(width) else 0
        full = len(levels) // size * size if size > 1 else 0
        stacks += [levels[start : start + size] for start in range(0, full, size or 1)]
        loose += levels[full:]
    return stacks, loose


def pieces(level: int, height: int, width: int) -> Iterator[Piece]:
    """A level in pieces no larger than a sheet that overlap as far as P-Net's answers reach."""
    for top in _starts(height):
        for left in _starts(width):
            yield Piece(level, top, left, min(SIDE, height - top), min(SIDE, width - left))


def _starts(side: int) -> Iterator[int]:
    for start in range(0, side, SIDE - REACH + STRIDE):
        if answers(side - start):
            yield start


def laid_out(cut: Iterable[Piece]) -> list[list[Placed]]:
    """The pieces on sheets: on shelves, the highest first, each where there is room first."""
    shelves: list[tuple[int, list[Placed]]] = []  # height, and what lies on it
    used: list[int] = []  # pixels of the width of each
    for piece in sorted(cut, key=lambda piece: (-piece.height, -piece.width)):
        height, width = _even(piece.height), _even(piece.width)
        place = next((index for index, taken in enumerate(used) if taken + width <= SIDE), len(used))
        if place == len(used):
            shelves.append((height, []))
            used.append(0)
        shelves[place][1].append(Placed(piece, 0, used[place]))
        used[place] += width
    sheets: list[list[Placed]] = []
    filled: list[int] = []  # pixels of the height of each
    for height, shelf in shelves:
        place = next((index for index, taken in enumerate(filled) if taken + height <= SIDE), len(filled))
        if place == len(filled):
            sheets.append([])
            filled.append(0)
        sheets[place] += [placed._replace(y=filled[place]) for placed in shelf]
        filled[place] += height
    return sheets


def drawn(sheets: list[list[Placed]], levels: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of n sheets, float32 (n, height, SIDE, 3), and their masks, float32 (n, height - 2, SIDE - 2, 1).

    The mask is NEVER where P-Net's first convolution sees one piece alone, else its negative: the smaller of the two
    lets an answer of that convolution through, or keeps it from being the largest.
    """
    lowest = max(placed.y + placed.piece.height for sheet in sheets for placed in sheet)
    height = min(SIDE, -(-lowest // STEP) * STEP)
    pixels = np.zeros((len(sheets), height, SIDE, 3), np.float32)
    masks = np.full((len(sheets), height - 2, SIDE - 2, 1), -NEVER)
    for number, sheet in enumerate(sheets):
        for piece, y, x in sheet:
            part = levels[piece.level][piece.top : piece.top + piece.height, piece.left : piece.left + piece.width]
            pixels[number, y : y + piece.height, x : x + piece.width] = part
            masks[number, y : y + piece.height - 2, x : x + piece.width - 2] = NEVER
    return pixels, masks


def gathered(sheet: list[Placed], answer: Sequence[np.ndarray], found: list[list[np.ndarray]]) -> None:
    """Put P-Net's answer on a sheet, of each kind (rows, columns, …), among those found on each level."""
    for piece, y, x in sheet:
        rows, columns = answers(piece.height), answers(piece.width)
        top, left = piece.top // STRIDE, piece.left // STRIDE
        for there, here in zip(answer, found[piece.level], strict=True):
            here[top : top + rows, left : left + columns] = there[y // STRIDE :, x // STRIDE :][:rows, :columns]


def _even(side: int) -> int:
    return side + side % STRIDE
