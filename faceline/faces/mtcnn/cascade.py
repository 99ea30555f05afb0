"""The cascade: P-Net proposes boxes on a pyramid of the picture, R-Net refines them, O-Net has the last word.

Every decision is taken picture by picture, as the package does in a call with one picture; only the arithmetic of the
networks is done for many together. (The package's own list call sorts the boxes of all its pictures together by an
unstable sort, so on 2 % of sharp pictures it decides otherwise, and on pictures of mixed sizes it shifts boxes.)

One decision differs: with a least size of 21 to 24 pixels, some pictures' last level is too small for P-Net, and the
package then finds no face in the whole picture; here that level is left out.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from mtcnn.utils.images import build_scale_pyramid

from faceline.faces.mtcnn import sheets
from faceline.faces.mtcnn.boxes import SCORE, Boxes, by_score, squared, suppressed
from faceline.faces.mtcnn.networks import OUTPUT, REFINED, Answers, Networks
from faceline.faces.mtcnn.resampling import cut, shrink, turned

SCALE_FACTOR = 0.709  # between levels of the pyramid, and the overlaps below: the package's defaults
WITHIN_LEVEL, BETWEEN_LEVELS, AFTERWARDS = 0.5, 0.7, 0.7
CELL = sheets.REACH - 1  # pixels of a level, from the first to the last that an answer of P-Net sees
NONE, NO_FACE = np.empty((0, SCORE + 1)), np.empty((0, SCORE + 11))
MARGIN = 1e-3  # between logits; far more than rounding can make, so that no box is lost before its score is known


@dataclass(frozen=True)
class Batches:
    """How much goes through the networks together; the answers do not depend on it, speed and memory do.

    Attributes:
        pixels: of pictures whose pyramids share sheets.
        sheets: for P-Net.
        refine, output: patches, for R-Net and for O-Net.
    """

    pixels: int
    sheets: int
    refine: int
    output: int


CPU = Batches(pixels=12_000_000, sheets=1, refine=32, output=16)  # what a core's cache holds
GPU = Batches(pixels=32_000_000, sheets=16, refine=4096, output=2048)


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
        self._least = _logit(thresholds[0]) - MARGIN
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
        boxes = [found for group in self._groups(pictures) for found in self._propose(group)]
        boxes = [squared(found) for found in self._refine(pictures, boxes)]
        return [_inside(found, picture) for found, picture in zip(self._output(pictures, boxes), pictures, strict=True)]

    def _groups(self, pictures: Sequence[np.ndarray]) -> Iterator[Sequence[np.ndarray]]:
        """The pictures in order, as many as are proposed on together."""
        start = held = 0
        for index, picture in enumerate(pictures):
            size = picture.shape[0] * picture.shape[1]
            if index > start and held + size > self._batches.pixels:
                yield pictures[start:index]
                start, held = index, 0
            held += size
        if start < len(pictures):
            yield pictures[start:]

    def _propose(self, pictures: Sequence[np.ndarray]) -> list[Boxes]:
        """P-Net on every level of the pyramids; the surviving boxes of each picture, square."""
        levels: list[np.ndarray] = []
        owners: list[tuple[int, float]] = []  # of each level the picture and the scale
        for index, picture in enumerate(pictures):
            height, width, _ = picture.shape
            columns = turned(picture)
            for scale in build_scale_pyramid(width, height, self._min_face_size, SCALE_FACTOR):
                levels.append(np.empty((int(height * scale), int(width * scale), 3), np.float32))
                shrink(columns, levels[-1])
                owners.append((index, scale))
        candidates = [_candidates(answer, self._least) for answer in self._answers(levels)]
        scores = self._networks.scores(np.concatenate([logits for _, _, logits in candidates]))
        ends = np.cumsum([len(logits) for _, _, logits in candidates])
        found: list[list[Boxes]] = [[] for _ in pictures]
        for (index, scale), (cells, offsets, _), score in zip(owners, candidates, np.split(scores, ends), strict=False):
            sure = score > self._thresholds[0]
            if sure.any():
                corners = (cells[sure] + offsets[sure].astype(float) * CELL) / scale
                boxes = np.concatenate([corners, score[sure, None]], axis=1)
                found[index].append(suppressed(by_score(boxes), WITHIN_LEVEL))
        together = [np.concatenate(mine) if mine else NONE for mine in found]
        return [squared(suppressed(by_score(boxes), BETWEEN_LEVELS)) for boxes in together]

    def _answers(self, levels: list[np.ndarray]) -> list[Answers]:
        """P-Net's offsets (rows, columns, 4) and logits (rows, columns, 2) on each level."""
        stacks, loose = sheets.stacked([level.shape[:2] for level in levels])
        found: list[Answers] = [[] for _ in levels]
        for stack in stacks:
            answers = self._networks.propose(np.stack([levels[index] for index in stack]))
            for place, index in enumerate(stack):
                found[index] = [answer[place] for answer in answers]
        for index in loose:
            rows, columns = map(sheets.answers, levels[index].shape[:2])
            found[index] = [np.empty((rows, columns, 4), np.float32), np.empty((rows, columns, 2), np.float32)]
        laid = sheets.laid_out(piece for index in loose for piece in sheets.pieces(index, *levels[index].shape[:2]))
        for start in range(0, len(laid), self._batches.sheets):
            batch = laid[start : start + self._batches.sheets]
            answers = self._networks.propose(*sheets.drawn(batch, levels))
            for sheet, *answer in zip(batch, *answers, strict=True):
                sheets.gathered(sheet, answer, found)
        return found

    def _refine(self, pictures: Sequence[np.ndarray], boxes: Sequence[Boxes]) -> list[Boxes]:
        answers = _asked(self._networks.refine, pictures, boxes, REFINED, self._batches.refine)
        return [
            suppressed(by_score(_accepted(found, answer, self._thresholds[1])), AFTERWARDS)
            for found, answer in zip(boxes, answers, strict=True)
        ]

    def _output(self, pictures: Sequence[np.ndarray], boxes: Sequence[Boxes]) -> list[Boxes]:
        answers = _asked(self._networks.output, pictures, boxes, OUTPUT, self._batches.output)
        return [
            suppressed(by_score(_accepted(found, answer, self._thresholds[2])), AFTERWARDS, of_smaller=True)
            for found, answer in zip(boxes, answers, strict=True)
        ]


def _logit(probability: float) -> float:
    if 0 < probability < 1:
        return math.log(probability / (1 - probability))
    return math.inf if probability else -math.inf


def _candidates(answers: Answers, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where on a level P-Net leans to a face: the cell as x1, y1, x2, y2 in pixels of the level, offsets, logits."""
    offsets, logits = answers
    row, column = np.nonzero(logits[..., 1] - logits[..., 0] > least)
    corner = np.stack([column, row], axis=1) * sheets.STRIDE + 1
    return np.concatenate([corner, corner + CELL], axis=1), offsets[row, column], logits[row, column]


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
    if not len(boxes):
        return NO_FACE
    height, width, _ = picture.shape
    boxes[:, 0:SCORE:2] = boxes[:, 0:SCORE:2].clip(0, width - 1)
    boxes[:, 1:SCORE:2] = boxes[:, 1:SCORE:2].clip(0, height - 1)
    return boxes
