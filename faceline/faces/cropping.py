"""From a picture and a face in it to the square crop that networks see: one geometry for training and serving."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from faceline.faces.detection import Face
from faceline.faces.quality import QualitySettings
from faceline.params import Settings

WHITE = (255, 255, 255)


class CropSettings(Settings):
    """How a face is cut out, and which pictures are not."""

    min_score: Annotated[float, Field(ge=0, le=1)]  # a found face below this is not counted
    margin: Annotated[float, Field(ge=0, le=2)]  # added on each side, as a share of the box's side
    fill: Literal["white", "picture"]  # how the box becomes a square
    size: Annotated[int, Field(ge=16, le=1024)]  # pixels a side
    quality: QualitySettings


def counted(faces: Sequence[Face], settings: CropSettings) -> list[Face]:
    """The faces whose score is high enough to be counted, in the order given."""
    return [face for face in faces if face.score >= settings.min_score]


def only_face(faces: Sequence[Face], settings: CropSettings) -> Face | tuple[str, str]:
    """The one counted face of a picture, or reason and detail where there is none or more than one."""
    found = counted(faces, settings)
    if len(found) == 1:
        return found[0]
    reason = "several_faces" if found else "no_face"
    return reason, f"{len(found)} faces score {settings.min_score:g} or more; exactly 1 is kept"


def crop_face(picture: np.ndarray, face: Face, settings: CropSettings) -> np.ndarray:
    """The square crop of one face.

    The box grows by the margin on each side. `fill: picture` then takes the square around its centre from the picture;
    `fill: white` keeps the box's aspect ratio and pads it white. What lies outside the picture is white.

    Args:
        picture: RGB uint8 (height, width, 3).
        face: a bounding box in pixels; it may reach over the picture's edge.

    Returns:
        RGB uint8 (size, size, 3).
    """
    width, height = (side * (1 + 2 * settings.margin) for side in (face.width, face.height))
    side = max(1, math.ceil(max(width, height)))
    region_width, region_height = (side, side) if settings.fill == "picture" else (math.ceil(width), math.ceil(height))
    left = round(face.x + face.width / 2 - region_width / 2)
    top = round(face.y + face.height / 2 - region_height / 2)
    square = Image.new("RGB", (side, side), WHITE)
    # The part of the region that the picture has; pasting a whole box over the edge would bring black pixels.
    inside = (
        max(left, 0),
        max(top, 0),
        min(left + region_width, picture.shape[1]),
        min(top + region_height, picture.shape[0]),
    )
    if inside[0] < inside[2] and inside[1] < inside[3]:
        part = Image.fromarray(picture[inside[1] : inside[3], inside[0] : inside[2]])
        offset = ((side - region_width) // 2 - left, (side - region_height) // 2 - top)
        square.paste(part, (inside[0] + offset[0], inside[1] + offset[1]))
    return np.asarray(square.resize((settings.size, settings.size), Image.Resampling.LANCZOS))
