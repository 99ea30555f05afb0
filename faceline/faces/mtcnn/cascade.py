"""The cascade: P-Net proposes boxes on a pyramid of the picture, R-Net refines them, O-Net has the last word.

Every decision is taken picture by picture, as the package does in a call with one picture; only the arithmetic of the
networks is done for many together. (The package's own list call sorts the boxes of all its pictures together by an
unstable sort, so on 2 % of sharp pictures it decides otherwise, and on pictures of mixed sizes it shifts boxes.)
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from mtcnn.utils.images import build_scale_pyramid

from faceline.faces.mtcnn.boxes import SCORE, Boxes, by_score, squared, suppressed
from faceline.faces.mtcnn.networks import SIDES, Answers, Networks
from faceline.faces.mtcnn.resampling import cut, shrink, turned

SCALE_FACTOR = 0.709  # between levels of the pyramid, and the overlaps below: the package's defaults
WITHIN_LEVEL, BETWEEN_LEVELS, REFINED = 0.5, 0.7, 0.7
CELL, STRIDE = 11, 2  # pixels of a level: from P-Net's first to its last pixel, and between two answers
NONE = np.empty((0, SCORE + 1))


@dataclass(frozen=True)
class Batches:
    """How much goes through the networks together; the answers do not depend on it, speed and memory do.

    Attributes:
        pixels: of pictures of one size, for P-Net.
        refine, output: patches, for R-Net and for O-Net.
    """

    pixels: int
    refine: int
    output: int


CPU = Batches(pixels=640_000, refine=64, output=32)  # what a core's cache holds
GPU = Batches(pixels=16_000_000, refine=4096, output=2048)


class Cascade:
    """MTCNN for pictures of any sizes. Loads its networks once; not safe to share between threads.

    Args:
        thresholds: least scores of P-, R- and O-Net.
        min_face_size: pixels, 20 to 24.
        batches: CPU or GPU.
    """

    def __init__(self, thresholds: tuple[float, float, float], min_face_size: int, batches: Batches = CPU):
        self._networks = Networks()
        self._thresholds = thresholds
        self._min_face_size = min_face_size
        self._batches = batches

    def detect(self, pictures: Sequence[np.ndarray]) -> list[Boxes]:
        """The faces of each picture, in the package's order.

        Args:
            pictures: RGB uint8 (height, width, 3), of any sizes from 24 pixels a side.

        Returns:
            Of each picture float64 (faces, 15): x1, y1, x2, y2 (inside the picture), score, x of left eye, right eye,
            nose, left and right corner of the mouth, then their y; pixels.
        """
        boxes = [NONE] * len(pictures)
        for batch in self._alike(pictures):
            for index, found in zip(batch, self._propose([pictures[index] for index in batch]), strict=True):
                boxes[index] = found
        boxes = [squared(found) for found in self._refine(pictures, boxes)]
        return [_inside(found, picture) for found, picture in zip(self._output(pictures, boxes), pictures, strict=True)]

    def _alike(self, pictures: Sequence[np.ndarray]) -> Iterator[list[int]]:
        """Indices of pictures of one size, as many as go through P-Net together."""
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, picture in enumerate(pictures):
            by_shape[picture.shape].append(index)
        for (height, width, _), indices in by_shape.items():
            size = max(1, self._batches.pixels // (height * width))
            yield from (indices[start : start + size] for start in range(0, len(indices), size))

    def _propose(self, pictures: Sequence[np.ndarray]) -> list[Boxes]:
        """P-Net on every level of the pyramids of pictures of one size; the surviving boxes of each, square."""
        height, width, _ = pictures[0].shape
        scales = build_scale_pyramid(width, height, self._min_face_size, SCALE_FACTOR)
        levels = [np.empty((len(pictures), int(height * s), int(width * s), 3), np.float32) for s in scales]
        for index, picture in enumerate(pictures):
            columns = turned(picture)
            for level in levels:
                shrink(columns, level[index])
        found: list[list[Boxes]] = [[] for _ in pictures]
        for scale, (offsets, scores) in zip(scales, self._networks.propose(levels), strict=True):
            owner, row, column = np.nonzero(scores > self._thresholds[0])
            corner = np.stack([column, row], axis=1) * STRIDE + 1
            cells = np.concatenate([corner, corner + CELL], axis=1)
            boxes = np.empty((len(owner), SCORE + 1))
            boxes[:, :SCORE] = (cells + offsets[owner, row, column].astype(float) * CELL) / scale
            boxes[:, SCORE] = scores[owner, row, column]
            for mine, among in zip(found, _by_owner(boxes, owner, len(pictures)), strict=True):
                if len(among):
                    mine.append(suppressed(by_score(among), WITHIN_LEVEL))
        together = [np.concatenate(mine) if mine else NONE for mine in found]
        return [squared(suppressed(by_score(boxes), BETWEEN_LEVELS)) for boxes in together]

    def _refine(self, pictures: Sequence[np.ndarray], boxes: Sequence[Boxes]) -> list[Boxes]:
        answers = _asked(self._networks.refine, pictures, boxes, SIDES["rnet"], self._batches.refine)
        return [
            suppressed(by_score(_accepted(found, answer, self._thresholds[1])), REFINED)
            for found, answer in zip(boxes, answers, strict=True)
        ]

    def _output(self, pictures: Sequence[np.ndarray], boxes: Sequence[Boxes]) -> list[Boxes]:
        answers = _asked(self._networks.output, pictures, boxes, SIDES["onet"], self._batches.output)
        return [
            suppressed(by_score(_accepted(found, answer, self._thresholds[2])), REFINED, of_smaller=True)
            for found, answer in zip(boxes, answers, strict=True)
        ]


def _by_owner(rows: np.ndarray, owner: np.ndarray, count: int) -> list[np.ndarray]:
    """The rows of each of `count` owners, whose indices ascend."""
    return np.split(rows, np.searchsorted(owner, np.arange(1, count)))


def _asked(
    network: Callable[[np.ndarray], Answers],
    pictures: Sequence[np.ndarray],
    boxes: Sequence[Boxes],
    side: int,
    size: int,
) -> list[Answers]:
    """The network's answers on the boxes of all pictures, `size` patches at a time; of each picture its own."""
    owner = np.repeat(np.arange(len(pictures)), [len(found) for found in boxes])
    together = np.concatenate([NONE, *boxes])
    parts = []
    for start in range(0, len(together), size):
        rows = slice(start, start + size)
        count = len(together[rows])
        # A batch of one differs from a larger one in the last bit.
        patches = np.zeros((max(2, count), side, side, 3), np.float32)
        first = owner[start]
        among = _by_owner(together[rows], owner[rows] - first, owner[rows][-1] - first + 1)
        filled = 0
        for picture, mine in zip(pictures[first:], among, strict=False):
            cut(picture, mine, patches[filled : filled + len(mine)])
            filled += len(mine)
        parts.append([answer[:count] for answer in network(patches)])
    if not parts:
        return [[]] * len(pictures)
    kinds = [_by_owner(np.concatenate(kind), owner, len(pictures)) for kind in zip(*parts, strict=True)]
    return [list(answer) for answer in zip(*kinds, strict=True)]


def _accepted(boxes: Boxes, answers: Answers, threshold: float) -> Boxes:
    """The boxes that a network says are faces, moved by its offsets, with its score and its landmarks, if it has any.

    The mix of 32 and 64 bits is the package's: TensorFlow takes part in some of its sums.
    """
    if not len(boxes):
        return boxes
    offsets, scores, *landmarks = answers
    width, height = boxes[:, 2] - boxes[:, 0] + 1, boxes[:, 3] - boxes[:, 1] + 1
    moves = offsets * np.stack([width, height, width, height], axis=1).astype(np.float32)
    columns = [boxes[:, :SCORE].astype(np.float32) + moves, scores[:, None]]
    for points in landmarks:
        x = width[:, None] * points[:, :5] + boxes[:, 0:1] - 1
        y = height[:, None] * points[:, 5:] + boxes[:, 1:2] - 1
        columns.append(np.concatenate([x, y], axis=1).astype(np.float32))
    return np.concatenate(columns, axis=1, dtype=float)[scores.astype(float) > threshold]


def _inside(boxes: Boxes, picture: np.ndarray) -> Boxes:
    height, width, _ = picture.shape
    boxes[:, 0:SCORE:2] = boxes[:, 0:SCORE:2].clip(0, width - 1)
    boxes[:, 1:SCORE:2] = boxes[:, 1:SCORE:2].clip(0, height - 1)
    return boxes
