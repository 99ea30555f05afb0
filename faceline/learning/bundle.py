"""The bundle, what training leaves and everything else uses, and the one way of a picture to an answer.

A folder with the networks (`.keras`) and `card.json`. `Predictor` takes a picture the way training pictures went:
decoded, faces found, cropped, resized, scaled; command line and serving use it, evaluation and gates its networks on
crops, and so they can't drift apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from faceline.faces.cropping import counted, crop_face
from faceline.faces.decoding import decode
from faceline.faces.detection import Face
from faceline.faces.detector import Detector
from faceline.learning.answering import Answers, CropPredictor


@dataclass(frozen=True)
class FaceAnswer:
    """One face in a picture: where it is, what the networks saw (size, size, 3), and their answers (None as above)."""

    face: Face
    crop: np.ndarray
    age: float | None = None
    age_low: float | None = None
    age_high: float | None = None
    female_probability: float | None = None
    race_probabilities: tuple[float, ...] | None = None


class FindsFaces(Protocol):
    """What finds faces: `faceline.faces.detector.Detector`, or a stand-in."""

    def detect(self, pictures: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces of each RGB picture (height, width, 3)."""
        ...


class Predictor(CropPredictor):
    """The networks of a bundle, and the way of a picture to them.

    Args:
        path: the bundle's folder.
        detector: what finds faces; by default the card's, made when first needed.

    Raises:
        BundleError: a file is missing or altered, or the card is of another version.
    """

    def __init__(self, path: Path, detector: FindsFaces | None = None):
        super().__init__(path)
        self._detector = detector

    def predict(self, pictures: Sequence[bytes]) -> list[list[FaceAnswer]]:
        """The counted faces of each encoded picture, by descending score, with their answers.

        Raises:
            PictureError: a picture cannot be used.
        """
        decoded = [decode(data, **self.card.decode.model_dump()) for data in pictures]
        if self._detector is None:
            self._detector = Detector(self.card.detect)
        faces = [counted(found, self.card.crop) for found in self._detector.detect(decoded)]
        crops = [
            crop_face(picture, face, self.card.crop)
            for picture, found in zip(decoded, faces, strict=True)
            for face in found
        ]
        if not crops:
            return [[] for _ in pictures]
        answers = _rows(self.predict_crops(np.stack(crops)))
        remaining = zip(crops, answers, strict=True)
        return [
            [FaceAnswer(face, crop, **numbers) for face, (crop, numbers) in zip(found, remaining, strict=False)]
            for found in faces
        ]


def _rows(answers: Answers) -> Iterator[dict[str, Any]]:
    """The answers crop by crop, as plain numbers."""
    columns = {name: values.tolist() for name, values in vars(answers).items() if values is not None}
    if answers.race_probabilities is not None:
        columns["race_probabilities"] = list(map(tuple, columns["race_probabilities"]))
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))
