"""MTCNN over many pictures at once, with the networks and the arithmetic of the `mtcnn` package (1.0.0).

The package's own list call sorts the boxes of all pictures together by an unstable sort, so boxes of equal score change
places with the company that a picture is in: on 2 % of sharp pictures it decides otherwise than a call with the picture
alone. Here the networks run on batches, and every decision on the boxes is taken picture by picture, as a single call
does.
"""

from typing import Any

import numpy as np
from mtcnn import MTCNN
from mtcnn.utils.bboxes import (
    adjust_bboxes,
    generate_bounding_box,
    limit_bboxes,
    pick_matches,
    replace_confidence,
    resize_to_square,
    smart_nms_from_bboxes,
    to_json,
    upscale_bboxes,
)
from mtcnn.utils.images import build_scale_pyramid, extract_patches, normalize_images, scale_images
from mtcnn.utils.landmarks import adjust_landmarks

SCALE_FACTOR = 0.709  # between levels of the pyramid, and the overlaps below: the package's defaults
NMS_WITHIN_LEVEL, NMS_BETWEEN_LEVELS, NMS_REFINED = 0.5, 0.7, 0.7  # intersection over union
PICTURE, SCORE = 0, 5  # columns of a box: picture, x1, y1, x2, y2, score[, landmarks]

Boxes = np.ndarray  # (n, 6), or (n, 16) with landmarks


class BatchedMtcnn:
    """The three networks of the package, and its decisions for each picture of a batch.

    Args:
        thresholds: least scores of P-Net, R-Net and O-Net.
        min_face_size: pixels.
    """

    def __init__(self, thresholds: tuple[float, float, float], min_face_size: int):
        self._networks = [stage.model for stage in MTCNN().stages]
        self._thresholds = thresholds
        self._min_face_size = min_face_size

    def detect(self, pictures: np.ndarray) -> list[list[dict[str, Any]]]:
        """What `MTCNN().detect_faces` says of each picture: box, confidence and keypoints of each face.

        Args:
            pictures: RGB uint8 (n, height, width, 3).
        """
        images = normalize_images(pictures)
        boxes = self._refine(images, self._propose(images), network=1, side=24)
        boxes = self._refine(images, [resize_to_square(found) for found in boxes], network=2, side=48)
        shapes = np.repeat([pictures.shape[1:]], len(pictures), axis=0)
        inside = [limit_bboxes(found, shapes, limit_landmarks=False) if len(found) else found for found in boxes]
        return [_as_json(found) for found in inside]

    def _propose(self, images: np.ndarray) -> list[Boxes]:
        """P-Net on every level of the pyramid; the surviving boxes of each picture, square."""
        _, height, width, _ = images.shape
        levels: list[list[Boxes]] = [[] for _ in images]
        for scale in build_scale_pyramid(width, height, self._min_face_size, SCALE_FACTOR):
            offsets, scores = self._networks[0](scale_images(images, scale))
            for index, found in enumerate(levels):
                boxes = generate_bounding_box(
                    offsets[index : index + 1], scores[index : index + 1], self._thresholds[0]
                )
                boxes = upscale_bboxes(boxes, np.asarray([scale]))
                found.append(smart_nms_from_bboxes(boxes, NMS_WITHIN_LEVEL, method="union", initial_sort=False))
        proposed = [np.concatenate(found) if found else np.empty((0, SCORE + 1)) for found in levels]
        kept = [
            smart_nms_from_bboxes(found, NMS_BETWEEN_LEVELS, method="union", initial_sort=True) for found in proposed
        ]
        return [_of_picture(resize_to_square(found), index) for index, found in enumerate(kept)]

    def _refine(self, images: np.ndarray, boxes: list[Boxes], *, network: int, side: int) -> list[Boxes]:
        """R-Net or O-Net on the boxes of all pictures; the surviving boxes of each, moved, O-Net's with landmarks."""
        together = np.concatenate(boxes)
        if not len(together):
            return boxes
        # A batch of one differs from a larger one in the last bit.
        patches = extract_patches(images, together if len(together) > 1 else together.repeat(2, axis=0), (side, side))
        answers = [answer[: len(together)] for answer in self._networks[network](patches)]
        moved = adjust_bboxes(replace_confidence(together.copy(), answers[-1].numpy()), answers[0].numpy())
        if len(answers) == 3:  # O-Net gives landmarks as well
            moved = np.concatenate([moved, adjust_landmarks(answers[1], together)], axis=-1)
        result = []
        for index in range(len(images)):
            found = pick_matches(moved[moved[:, PICTURE] == index], SCORE, self._thresholds[network])
            method = "union" if network == 1 else "min"
            result.append(smart_nms_from_bboxes(found, NMS_REFINED, method=method, initial_sort=True))
        return result


def _of_picture(boxes: Boxes, index: int) -> Boxes:
    boxes = boxes.copy()
    boxes[:, PICTURE] = index
    return boxes


def _as_json(boxes: Boxes) -> list[dict[str, Any]]:
    faces: list[dict[str, Any]] = to_json(_of_picture(boxes, 0), images_count=1)[0]
    return faces
