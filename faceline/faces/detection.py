"""What detection is set by and what it answers; the detector itself is in `faceline.faces.detector`."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, model_validator

from faceline.params import Settings

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
