"""Where a head lies on the picture, and painting on it in the head's own coordinates.

The head is an elliptic cylinder: a point of the face at the height v and the angle θ from the middle is seen at
a(v)·sin(θ - yaw), where a(v) is half the width of the head at that height. Units and axes are those of `person`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from faceline.datasets.sample.person import Field, Outline

Window = tuple[slice, slice]  # rows and columns of a head's canvas
Colour = Field | tuple[float, float, float]
EVERYWHERE: Window = (slice(None), slice(None))
SKULL = 2.3  # exponent of the skull's curve; 2 would be an ellipse, which looks pointed
NODDING = 0.45  # how far a nod moves the middle of the face, as a share of the unit
SIDES = (-1.0, 1.0)  # the left and the right half of the picture


@dataclass(frozen=True)
class Pose:
    """The point between the eyes and the distance between the pupils in pixels; the turns of the head in radians."""

    x: float
    y: float
    scale: float
    roll: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0


def noise(rng: np.random.Generator, height: int, width: int, rows: int, columns: int) -> Field:
    """Smooth noise around 0.5, float32 (height, width): `rows` by `columns` (at least 2) values, interpolated."""
    values = rng.random((max(2, rows), max(2, columns)), dtype=np.float32)
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC))


class Head:
    """The part of a picture that a person can cover, with the coordinates of each of its pixels.

    x, y: in the plane of the picture, turned upright; u, v: on the surface of the face; turn, depth: sine and cosine
    of a pixel's angle from the middle of the head; half_width: a(v); beyond: < 0 inside the outline, > 0 outside;
    front: how much of the face is seen there, 0 to 1. All float32 (height, width), or broadcastable to it.
    """

    def __init__(self, picture: Field, outline: Outline, pose: Pose):
        """`picture` is float32 (height, width, 3), 0 to 255; painting changes it."""
        self.outline, self.pose = outline, pose
        reach = 2.6 * pose.scale
        self._left, right = max(0, int(pose.x - reach)), min(picture.shape[1], int(pose.x + reach) + 1)
        self._top = max(0, int(pose.y - 2.3 * pose.scale))
        self.pixels = picture[self._top :, self._left : right]
        self.edge = 1.2 / pose.scale  # the width of a soft edge: a little more than a pixel
        across = (np.arange(self._left, right, dtype=np.float32) - pose.x) / pose.scale
        down = ((np.arange(self._top, picture.shape[0], dtype=np.float32) - pose.y) / pose.scale)[:, None]
        self.cos, self.sin = math.cos(pose.roll), math.sin(pose.roll)
        self.x = self.cos * across + self.sin * down
        self.y = self.cos * down - self.sin * across

        narrowing = np.where(
            self.y < 0,
            (np.maximum(-self.y, 0) / outline.crown) ** SKULL,
            (np.maximum(self.y, 0) / outline.chin) ** outline.jaw,
        )
        self.beyond = (self.x / outline.width) ** 2 + narrowing - 1
        self.half_width = outline.width * np.sqrt(np.maximum(1 - narrowing, 0.02))
        self.turn = np.clip(self.x / self.half_width, -1, 1)
        self.depth = np.sqrt(1 - self.turn**2)
        sin, cos = math.sin(pose.yaw), math.cos(pose.yaw)
        self.u = self.half_width * (self.turn * cos + self.depth * sin)
        self.v = self.y + NODDING * math.sin(pose.pitch) * self.depth
        self.inside = np.clip(0.5 - self.beyond * (outline.width / 2) / self.edge, 0, 1)
        self.front = self.inside * ((self.depth * cos - self.turn * sin) > 0.05)

    def step(self, distance: Field, softness: float = 1.0) -> Field:
        """1 where `distance` is below 0, 0 above, over `softness` soft edges."""
        covered: Field = np.clip(0.5 - distance / (self.edge * softness), 0, 1)
        return covered

    def window(self, u: float, v: float, radius: float) -> Window:
        """The pixels within `radius` (units) of the point (u, v) of the face, a square; empty off the canvas."""
        column, row = self._seen(u, v)
        reach = radius * self.pose.scale + 2
        height, width = self.x.shape
        top, bottom = int(max(0, row - reach)), int(min(height, row + reach + 1))
        left, right = int(max(0, column - reach)), int(min(width, column + reach + 1))
        return slice(top, max(top, bottom)), slice(left, max(left, right))

    def paint(self, where: Window, mask: Field, colour: Colour) -> None:
        """Lay `colour` over the pixels, as opaque as `mask` says (0 to 1)."""
        pixels = self.pixels[where]
        pixels += mask[..., None] * (np.asarray(colour, np.float32) - pixels)

    def tint(self, where: Window, mask: Field, factor: float | tuple[float, float, float]) -> None:
        """Multiply the pixels by `factor`, as far as `mask` says: darker below 1, lighter above."""
        self.pixels[where] *= 1 + mask[..., None] * (np.asarray(factor, np.float32) - 1)

    def groove(
        self,
        start: float,
        end: float,
        curve: Callable[[Field], Field],
        *,
        width: float,
        depth: float,
        upright: bool = False,
    ) -> None:
        """A soft dark line with a light ridge beside it: v = curve(u), start to end; upright: u = curve(v)."""
        middle, half = 0.5 * (start + end), 0.5 * abs(end - start)
        bend = float(curve(np.array([middle], np.float32))[0])
        where = self.window(*((bend, middle) if upright else (middle, bend)), half * 1.25 + 0.18)
        along, off = (self.v, self.u) if upright else (self.u, self.v)
        taper = np.clip((1 - np.abs(along[where] - middle) / half) / 0.25, 0, 1)
        distance = (off[where] - curve(along[where])) / width
        self.tint(where, np.exp(-(distance**2)) * taper, 1 - depth)
        self.tint(where, np.exp(-((distance - 1.8) ** 2)) * taper, 1 + 0.35 * depth)

    def _seen(self, u: float, v: float) -> tuple[float, float]:
        """Column and row on the canvas of the point (u, v) of the face."""
        outline, pose = self.outline, self.pose
        narrowing = (-v / outline.crown) ** SKULL if v < 0 else (v / outline.chin) ** outline.jaw
        half_width = outline.width * math.sqrt(max(1 - narrowing, 0.02))
        angle = math.asin(max(-1.0, min(1.0, u / half_width))) - pose.yaw
        x = half_width * math.sin(angle)
        y = v - NODDING * math.sin(pose.pitch) * math.cos(angle)
        column = pose.x + pose.scale * (self.cos * x - self.sin * y) - self._left
        return column, pose.y + pose.scale * (self.sin * x + self.cos * y) - self._top
