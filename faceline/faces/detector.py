"""Finding faces with MTCNN (Zhang et al. 2016, https://arxiv.org/abs/1604.02878), on a GPU where there is one.

The decisions are those of `MTCNN().detect_faces` of the `mtcnn` package called with one picture, and on a CPU do not
depend on which pictures are searched together.
"""

from collections.abc import Sequence

import numpy as np

from faceline.console import load_tensorflow
from faceline.faces.detection import DetectSettings, Face, whole_picture

SCORE_DIGITS = 4  # decimals kept of a score: further ones differ between kinds of processor
SMALLEST = 24  # pixels; of a smaller picture the package's pyramid has no level, so no face can be found


class Detector:
    """MTCNN with the settings of a dataset. Loads its networks once; not safe to share between threads."""

    def __init__(self, settings: DetectSettings):
        self._enabled = settings.enabled
        if self._enabled:
            load_tensorflow()
            from faceline.faces.mtcnn.cascade import CPU, GPU, Cascade
            from faceline.faces.mtcnn.networks import use_gpu

            self._cascade = Cascade(settings.thresholds, settings.min_face_size, GPU if use_gpu() else CPU)

    def detect(self, pictures: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces of each picture, by descending score.

        Args:
            pictures: RGB uint8 (height, width, 3), of any sizes.
        """
        if not self._enabled:
            return [[whole_picture(picture.shape[1], picture.shape[0])] for picture in pictures]
        searched = [index for index, picture in enumerate(pictures) if min(picture.shape[:2]) >= SMALLEST]
        found: list[list[Face]] = [[] for _ in pictures]
        for index, boxes in zip(searched, self._cascade.detect([pictures[i] for i in searched]), strict=True):
            found[index] = sorted(map(_face, boxes), key=lambda face: (-face.score, face.x, face.y))
        return found


def _face(box: np.ndarray) -> Face:
    """A row of `Cascade.detect`, rounded as the package does: sides are rounded after the subtraction."""
    x1, y1, x2, y2 = box[:4]
    x, y, width, height = np.asarray([x1, y1, x2 - x1, y2 - y1]).round().astype(int).tolist()
    landmarks = box[5:].reshape(2, 5).T.round().astype(int).ravel().tolist()
    return Face(x, y, width, height, round(float(box[4]), SCORE_DIGITS), tuple(landmarks))
