"""What MTCNN decides about boxes: their order, which of them overlapping ones suppress, and their squares.

The order and the suppression are the package's, peculiar as they are, since they decide which face is found: boxes of
equal score change places as numpy's unstable sort has it, and a box dies of any better box that it overlaps, even of
one that is dead itself (greedy suppression would let it live).
"""

import numpy as np
from numba import njit

SCORE = 4  # column of a box: x1, y1, x2, y2, score[, x of five landmarks, y of five landmarks], all float64

Boxes = np.ndarray  # (n, 5) or (n, 15)


def by_score(boxes: Boxes) -> Boxes:
    """The boxes by descending score."""
    # A stable sort, or another reversal, would order equal scores differently from the package.
    return boxes[np.argsort(boxes[:, SCORE])[::-1]]


def suppressed(boxes: Boxes, most: float, *, of_smaller: bool = False) -> Boxes:
    """The boxes that no better one overlaps too much.

    Args:
        boxes: by descending score.
        most: the overlap that is still allowed: intersection over union.
        of_smaller: intersection over the area of the smaller box instead.
    """
    kept: Boxes = boxes[_alive(boxes, most, of_smaller)]
    return kept


@njit(cache=True, error_model="numpy")  # a division by zero gives NaN, and lets live, as in the package
def _alive(boxes, most, of_smaller):  # type: ignore[no-untyped-def]
    alive = np.ones(boxes.shape[0], np.bool_)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for worse in range(1, boxes.shape[0]):
        for better in range(worse):
            width = min(boxes[worse, 2], boxes[better, 2]) - max(boxes[worse, 0], boxes[better, 0])
            height = min(boxes[worse, 3], boxes[better, 3]) - max(boxes[worse, 1], boxes[better, 1])
            shared = max(0.0, height) * max(0.0, width)
            whole = min(areas[worse], areas[better]) if of_smaller else areas[worse] + areas[better] - shared
            if shared / whole > most:
                alive[worse] = False
                break
    return alive


def squared(boxes: Boxes) -> Boxes:
    """The boxes grown to squares about their centres; their further columns as they are."""
    boxes = boxes.copy()
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    side = np.maximum(width, height)
    # In the order of the package's additions: another order rounds differently.
    boxes[:, 0] = boxes[:, 0] + width * 0.5 - side * 0.5
    boxes[:, 1] = boxes[:, 1] + height * 0.5 - side * 0.5
    boxes[:, 2:4] = boxes[:, 0:2] + side[:, None]
    return boxes
