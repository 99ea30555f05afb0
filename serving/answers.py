"""What the API answers, as OpenAPI describes it; the numbers and their names are those of `faceline predict --json`."""

from pydantic import BaseModel, Field

from faceline.learning.bundle import FaceAnswer, Framed
from faceline.learning.card import Card
from faceline.learning.telling import face_record
from serving.problems import Problem

Probability = float


class Box(BaseModel):
    """A bounding box in pixels of the upright picture; it may reach over the edge."""

    x: int = Field(description="Left edge")
    y: int = Field(description="Top edge")
    width: int
    height: int


class Age(BaseModel):
    """An age in years, with the interval whose coverage the card states."""

    years: float
    low: float | None = Field(description="None where the bundle has no interval")
    high: float | None


class Label(BaseModel):
    """The most likely label, as the dataset names them; predicted by appearance."""

    label: str
    probability: Probability
    probabilities: dict[str, Probability]


class Face(BaseModel):
    """A face; a target that the bundle lacks is null."""

    box: Box
    score: float = Field(description="How sure the detector is, 0 to 1")
    age: Age | None = None
    gender: Label | None = None
    race: Label | None = None


class PictureAnswer(BaseModel):
    """The faces of a picture by descending score; a picture without a face is an answer too."""

    width: int = Field(description="Of the upright picture, pixels")
    height: int
    faces: list[Face]


class BatchAnswer(BaseModel):
    """For each picture, in the order sent, its answer or what is wrong with it."""

    pictures: list[PictureAnswer | Problem]


class Health(BaseModel):
    """Whether the server is there and can answer, and with what."""

    alive: bool
    ready: bool = Field(description="False while it starts, and again while it stops")
    bundle: str | None = Field(description="Recipe and dataset of the bundle")
    digest: str | None = Field(description="SHA-256 of the bundle's files, which changes with a reload")
    version: str = Field(description="Of faceline")


def picture_answer(framed: Framed, answers: list[FaceAnswer], card: Card) -> PictureAnswer:
    """The answer on one picture."""
    height, width = framed.picture.shape[:2]
    faces = [Face.model_validate(face_record(answer, card)) for answer in answers]
    return PictureAnswer(width=width, height=height, faces=faces)
