"""Measures of a crop's quality and the bounds below which it is rejected."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy import ndimage

from faceline.params import Settings

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class QualitySettings(Settings):
    """Lower bounds; a crop below one of them is rejected."""

    min_face_side: Annotated[int, Field(ge=0)]  # pixels; the shorter side of the face in the picture
    min_sharpness: Annotated[float, Field(ge=0)]  # variance of the Laplacian, grey levels squared
    min_brightness: Annotated[float, Field(ge=0, le=255)]  # mean grey level


@dataclass(frozen=True)
class Quality:
    """What was measured on a crop; units as in QualitySettings."""

    face_side: int
    sharpness: float
    brightness: float


def measure(crop: np.ndarray, face_side: int) -> Quality:
    """Quality of a crop, RGB uint8 (size, size, 3), whose face had `face_side` pixels in the picture.

    Sharpness is the variance of the Laplacian (Pech-Pacheco et al. 2000, https://doi.org/10.1109/ICPR.2000.903548),
    taken over the middle half, where the face is: an edge of white padding would pass for sharpness.
    """
    grey = crop.astype(np.float32) @ LUMA
    quarter = grey.shape[0] // 4
    middle = grey[quarter:-quarter, quarter:-quarter]
    sharpness = float(ndimage.laplace(grey)[quarter:-quarter, quarter:-quarter].var())
    return Quality(face_side, round(sharpness, 3), round(float(middle.mean()), 3))


def fault(quality: Quality, settings: QualitySettings) -> tuple[str, str] | None:
    """Reason and detail of the first bound that a crop does not reach, or None."""
    if quality.face_side < settings.min_face_side:
        return "face_too_small", f"face of {quality.face_side} px; at least {settings.min_face_side} px are asked"
    if quality.sharpness < settings.min_sharpness:
        return "blurred", f"sharpness {quality.sharpness:g}; at least {settings.min_sharpness:g} is asked"
    if quality.brightness < settings.min_brightness:
        return "too_dark", f"brightness {quality.brightness:g}; at least {settings.min_brightness:g} is asked"
    return None
