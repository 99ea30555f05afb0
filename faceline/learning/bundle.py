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

from faceline.faces.cropping import CropSettings, counted, crop_face, whole_crop
from faceline.faces.decoding import Pixels, decode
from faceline.faces.detection import Face, whole_picture
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


@dataclass(frozen=True)
class Framed:
    """The faces of one picture that are asked about: RGB uint8 (height, width, 3), and how each face is cut out."""

    picture: Pixels
    faces: Sequence[Face]
    crop: CropSettings


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
        return self.answer(self.find([decode(data, **self.card.decode.model_dump()) for data in pictures]))

    def find(self, pictures: Sequence[Pixels]) -> list[Framed]:
        """The counted faces of each RGB picture (height, width, 3), by descending score."""
        if self._detector is None:
            self._detector = Detector(self.card.detect)
        found = self._detector.detect(pictures)
        return [
            Framed(picture, counted(faces, self.card.crop), self.card.crop)
            for picture, faces in zip(pictures, found, strict=True)
        ]

    def whole(self, picture: Pixels) -> Framed:
        """An RGB picture (height, width, 3) that is one face already."""
        face = whole_picture(picture.shape[1], picture.shape[0])
        return Framed(picture, [face], whole_crop(self.card.crop, self.card.detect))

    def answer(self, framed: Sequence[Framed]) -> list[list[FaceAnswer]]:
        """What the networks answer on the faces of each picture, in the order given."""
        crops = [crop_face(item.picture, face, item.crop) for item in framed for face in item.faces]
        if not crops:
            return [[] for _ in framed]
        answers = zip(crops, _rows(self.predict_crops(np.stack(crops))), strict=True)
        return [
            [FaceAnswer(face, crop, **numbers) for face, (crop, numbers) in zip(item.faces, answers, strict=False)]
            for item in framed
        ]


def _rows(answers: Answers) -> Iterator[dict[str, Any]]:
    """The answers crop by crop, as plain numbers."""
    columns = {name: values.tolist() for name, values in vars(answers).items() if values is not None}
    if answers.race_probabilities is not None:
        columns["race_probabilities"] = list(map(tuple, columns["race_probabilities"]))
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))
