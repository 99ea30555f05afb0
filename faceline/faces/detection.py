"""Finding faces with MTCNN (Zhang et al. 2016, https://arxiv.org/abs/1604.02878).

Pictures of one size go through the networks together, several times faster than one by one. A batch of one differs from
a larger one in the last bit, so a lonely picture is doubled.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from faceline.console import load_tensorflow
from faceline.params import Settings

BATCH_PIXELS = 2_000_000  # pixels a call; bounds the memory of a worker, which grows with P-Net's first layer
SCORE_DIGITS = 4  # decimals kept of a score: what lies beyond depends on how pictures were batched
SMALLEST = 24  # pixels; of a smaller picture the package's pyramid has no level, so no face can be found

Probability = Annotated[float, Field(ge=0, le=1)]


class DetectSettings(Settings):
    """How faces are found in the pictures of a dataset; `detect: false` says that every picture is one face already."""

    enabled: bool = True
    # The package silently finds nothing outside this range.
    min_face_size: Annotated[int, Field(ge=20, le=24)] = 20
    thresholds: tuple[Probability, Probability, Probability] = (0.6, 0.7, 0.8)

    @model_validator(mode="before")
    @classmethod
    def _switched_off(cls, values: Any) -> Any:
        return {"enabled": False} if values is False else values


@dataclass(frozen=True)
class Face:
    """One face in a picture.

    Attributes:
        x, y: left and top edge of the bounding box, pixels.
        width, height: of the bounding box, pixels.
        score: confidence of the last network, 0 to 1.
        landmarks: x and y of left eye, right eye, nose, left and right corner of the mouth, pixels; or empty.
    """

    x: int
    y: int
    width: int
    height: int
    score: float
    landmarks: tuple[int, ...] = ()


def whole_picture(width: int, height: int) -> Face:
    """The face of a picture that is one face already: the whole of it."""
    return Face(0, 0, width, height, 1.0)


class Detector:
    """MTCNN with the settings of a dataset. Loads its networks once; not safe to share between threads."""

    def __init__(self, settings: DetectSettings):
        self._enabled = settings.enabled
        if self._enabled:
            load_tensorflow()
            from faceline.faces.mtcnn import BatchedMtcnn

            self._mtcnn = BatchedMtcnn(settings.thresholds, settings.min_face_size)

    def detect(self, pictures: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces of each picture, by descending score.

        Args:
            pictures: RGB uint8 (height, width, 3), of any sizes.
        """
        if not self._enabled:
            return [[whole_picture(picture.shape[1], picture.shape[0])] for picture in pictures]
        found: list[list[Face]] = [[] for _ in pictures]
        for batch in _batches(pictures):
            images = np.stack([pictures[index] for index in batch])
            for index, answer in zip(batch, self._mtcnn.detect(images), strict=True):
                found[index] = sorted(map(_face, answer), key=lambda face: (-face.score, face.x, face.y))
        return found


def _batches(pictures: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """Indices of pictures of one size, at most BATCH_PIXELS together; too small pictures are left out.

    A lonely picture stands twice, but for one so large that it is always alone.
    """
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, picture in enumerate(pictures):
        by_shape[picture.shape].append(index)
    for (height, width, _), indices in by_shape.items():
        if min(height, width) < SMALLEST:
            continue
        size = max(1, BATCH_PIXELS // (height * width))
        for start in range(0, len(indices), size):
            batch = indices[start : start + size]
            yield batch * 2 if len(batch) == 1 < size else batch


def _face(answer: dict[str, Any]) -> Face:
    x, y, width, height = map(int, answer["box"])
    order = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    landmarks = tuple(int(value) for name in order for value in answer["keypoints"][name])
    return Face(x, y, width, height, round(float(answer["confidence"]), SCORE_DIGITS), landmarks)
