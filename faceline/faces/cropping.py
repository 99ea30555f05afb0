"""From a picture and a face in it to the square crop that networks see: one geometry for training and serving."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from faceline.faces.detection import DetectSettings, Face
from faceline.faces.quality import QualitySettings
from faceline.params import Settings

WHITE = (255, 255, 255)
LARGEST = 4096  # pixels a side of the square that is cut out, four times the largest crop
Box = tuple[int, int, int, int]  # left, top, right and bottom edge, pixels; the last two are not part of it


class CropSettings(Settings):
    """How a face is cut out, and which pictures are not."""

    min_score: Annotated[float, Field(ge=0, le=1)]  # a found face below this is not counted
    margin: Annotated[float, Field(ge=0, le=2)]  # added on each side, as a share of the box's side
    fill: Literal["white", "picture"]  # how the box becomes a square
    align: bool = False  # turn the picture about the face, so that its eyes are level
    size: Annotated[int, Field(ge=16, le=1024)]  # pixels a side
    quality: QualitySettings


def counted(faces: Sequence[Face], settings: CropSettings) -> list[Face]:
    """The faces whose score is high enough to be counted, in the order given."""
    # As float32, which the table of faces holds: .9 read back from it is a little less than .9, and would not count.
    return [face for face in faces if np.float32(face.score) >= np.float32(settings.min_score)]


def only_face(faces: Sequence[Face], settings: CropSettings) -> Face | tuple[str, str]:
    """The one counted face of a picture, or reason and detail where there is none or more than one."""
    found = counted(faces, settings)
    if len(found) == 1:
        return found[0]
    reason = "several_faces" if found else "no_face"
    return reason, f"{len(found)} faces score {settings.min_score:g} or more; exactly 1 is kept"


def whole_crop(settings: CropSettings, detect: DetectSettings) -> CropSettings:
    """How a picture that is one face already becomes a crop: without a margin, unless training did the same."""
    return settings.model_copy(update={"margin": 0.0}) if detect.enabled else settings


def crop_face(picture: np.ndarray, face: Face, settings: CropSettings) -> np.ndarray:
    """The square crop of one face.

    The box grows by the margin on each side. `fill: picture` then takes the square around its centre from the picture;
    `fill: white` keeps the box's aspect ratio and pads it white. With `align` the box is turned about its centre to lie
    along the line through the eyes, where the face has landmarks. What lies outside the picture is white.

    Args:
        picture: RGB uint8 (height, width, 3).
        face: a bounding box in pixels; it may reach over the picture's edge.

    Returns:
        RGB uint8 (size, size, 3).
    """
    picture, face = _bounded(picture, face, settings.margin)
    width, height = (side * (1 + 2 * settings.margin) for side in (face.width, face.height))
    side = max(1, math.ceil(max(width, height)))
    region_width, region_height = (side, side) if settings.fill == "picture" else (math.ceil(width), math.ceil(height))
    left = round(face.x + face.width / 2 - region_width / 2)
    top = round(face.y + face.height / 2 - region_height / 2)
    box = (left, top, left + region_width, top + region_height)
    region = _turned(picture, box, _tilt(face)) if settings.align and face.landmarks else _taken(picture, box)
    square = Image.new("RGB", (side, side), WHITE)
    square.paste(region, ((side - region_width) // 2, (side - region_height) // 2))
    return np.asarray(square.resize((settings.size, settings.size), Image.Resampling.LANCZOS))


def _bounded(picture: np.ndarray, face: Face, margin: float) -> tuple[np.ndarray, Face]:
    """The picture and the face in it, reduced where the square around the face would have more than LARGEST pixels.

    Else a picture as long as thin, which has few pixels itself, would take gigabytes.
    """
    factor = math.ceil(max(face.width, face.height) * (1 + 2 * margin) / LARGEST)
    if factor <= 1:
        return picture, face
    places = {name: round(getattr(face, name) / factor) for name in ("x", "y", "width", "height")}
    landmarks = tuple(round(place / factor) for place in face.landmarks)
    return np.asarray(Image.fromarray(picture).reduce(factor)), replace(face, **places, landmarks=landmarks)


def _taken(picture: np.ndarray, box: Box) -> Image.Image:
    """The pixels of a box, white where it reaches over the picture's edge."""
    left, top, right, bottom = box
    region = Image.new("RGB", (right - left, bottom - top), WHITE)
    # The part of the box that the picture has; taking the whole of it would bring black pixels.
    inside = (max(left, 0), max(top, 0), min(right, picture.shape[1]), min(bottom, picture.shape[0]))
    if inside[0] < inside[2] and inside[1] < inside[3]:
        part = Image.fromarray(picture[inside[1] : inside[3], inside[0] : inside[2]])
        region.paste(part, (inside[0] - left, inside[1] - top))
    return region


def _turned(picture: np.ndarray, box: Box, angle: float) -> Image.Image:
    """The pixels of a box that is turned clockwise by `angle`, radians, about its centre."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    reach = math.ceil(math.hypot(width, height) / 2) + 2  # pixels; of the corners, and of the interpolation
    x, y = left + width // 2, top + height // 2
    around = _taken(picture, (x - reach, y - reach, x + reach, y + reach))
    cos, sin = math.cos(angle), math.sin(angle)
    centre = (left + width / 2 - x + reach, top + height / 2 - y + reach)
    first = centre[0] - (cos * width - sin * height) / 2
    second = centre[1] - (sin * width + cos * height) / 2
    to_source = (cos, -sin, first, sin, cos, second)
    return around.transform((width, height), Image.Transform.AFFINE, to_source, Image.Resampling.BICUBIC)


def _tilt(face: Face) -> float:
    """The angle of the line from the left to the right eye of the picture, radians, clockwise from level."""
    left_x, left_y, right_x, right_y = face.landmarks[:4]
    return math.atan2(right_y - left_y, right_x - left_x)
