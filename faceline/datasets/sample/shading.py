"""Light on a head: a height field of skull, nose and flesh, lit by Lambert's cosine law and a little gloss.

Light is smooth, so it is worked out at half the resolution.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from faceline.datasets.sample.canvas import SIDES, Head, Window
from faceline.datasets.sample.person import Field, Person

HALF: Window = (slice(None, None, 2), slice(None, None, 2))
NOSE_REACH = 0.22  # how far the nose stands out; it shifts against the face when the head turns


@dataclass(frozen=True)
class Light:
    """Direction that the light comes from (x, y, towards the viewer) and the share that comes from all around."""

    x: float
    y: float
    ambient: float


@dataclass(frozen=True, eq=False)
class Shade:
    """What the light does on each pixel: factor on the colour, gloss to add (0 to 1), and its side (x, units)."""

    factor: Field
    gloss: Field
    side: float


class Bump(NamedTuple):
    """A Gaussian hill (or hollow, where height < 0) at (u, v), with its deviations and height."""

    u: float
    v: float
    across: float
    down: float
    height: float

    def on(self, u: Field, v: Field) -> Field:
        """Its height at each pixel."""
        hill: Field = np.exp(-(((u - self.u) / self.across) ** 2) - ((v - self.v) / self.down) ** 2)
        return hill * self.height


def shade(head: Head, person: Person, light: Light) -> Shade:
    """How `light` falls on the head."""
    u, v = head.u[HALF], head.v[HALF]
    nose_u = u + NOSE_REACH * math.sin(head.pose.yaw) * np.exp(-(((v - person.nose.v) / 0.35) ** 2))
    height = _skull(head, person) + _nose(nose_u, v, person)
    for bump in _flesh(person):
        height = height + bump.on(u, v)
    down, across = np.gradient(height, 2.0 / head.pose.scale)
    norm = math.sqrt(light.x**2 + light.y**2 + 1)
    x, y, z = light.x / norm, light.y / norm, 1 / norm
    lambert = np.clip((z - across * x - down * y) / np.sqrt(1 + across**2 + down**2), 0, 1)
    factor = (light.ambient + (1.08 - light.ambient) * lambert) * _occlusion(head, person, u, v, nose_u)
    full = (head.x.shape[1], head.x.shape[0])
    return Shade(_enlarge(factor, full), _enlarge(lambert**24 * 0.10, full), head.cos * x + head.sin * y)


def _skull(head: Head, person: Person) -> Field:
    crown, chin = person.outline.crown, person.outline.chin
    v = head.v[HALF]
    flat = np.where(v < 0, (v / crown) ** 2, (v / chin) ** 4)
    bulge: Field = head.half_width[HALF] * head.depth[HALF] * np.sqrt(np.maximum(1 - 0.55 * flat, 0.05))
    return bulge * 0.95


def _nose(u: Field, v: Field, person: Person) -> Field:
    """Bridge, tip and wings; `u` is already shifted by the turn of the head."""
    tip, prominence = person.nose.v, 0.6 + 0.4 * person.life.adult
    bridge = np.exp(-((u / (0.10 + 0.10 * np.clip(v / tip, 0, 1))) ** 2))
    rise = np.clip((v + 0.15) / (tip + 0.1), 0, 1) ** 1.1 * np.clip((tip + 0.18 - v) / 0.13, 0, 1)
    height: Field = bridge * rise * 0.26 * prominence + Bump(0, tip - 0.01, 0.13, 0.11, 0.12 * prominence).on(u, v)
    for side in SIDES:
        height = height + Bump(side * 0.17, tip + 0.04, 0.08, 0.08, 0.07).on(u, v)
    return height


def _flesh(person: Person) -> list[Bump]:
    """Sockets, brow ridges, cheeks, hollows, jowls, lips and chin."""
    life, chin, mouth = person.life, person.outline.chin, person.mouth.v
    bumps = [
        Bump(0, -0.28, 0.3, 0.12, 0.03 * life.male),
        Bump(0, mouth, 0.38, 0.20, 0.06),
        Bump(0, mouth + 0.26, 0.30, 0.06, -0.05),
        Bump(0, chin - 0.2, 0.25, 0.16, 0.07 + 0.02 * life.male),
    ]
    for side in SIDES:
        bumps += [
            Bump(side * person.eyes.offset, -0.02, 0.30, 0.17, -0.13 - 0.04 * life.old),
            Bump(side * person.eyes.offset, -0.30, 0.38, 0.10, 0.05),
            Bump(side * 0.60, 0.48, 0.28, 0.25, 0.07 + 0.05 * person.skin.blush),
            Bump(side * 0.74, 0.95, 0.20, 0.30, -0.06 * life.old),
            Bump(side * 0.62, chin - 0.40, 0.16, 0.14, 0.05 * life.old),
        ]
    return bumps


def _occlusion(head: Head, person: Person, u: Field, v: Field, nose_u: Field) -> Field:
    """The share of light that reaches the hollows: sockets, under nose and mouth, and the sides of the head."""
    mouth, nose = person.mouth.v, person.nose.v
    left: Field = (
        1 - Bump(0, nose + 0.16, 0.20, 0.06, 0.22).on(nose_u, v) - Bump(0, mouth + 0.24, 0.26, 0.06, 0.12).on(u, v)
    )
    for side in SIDES:
        left = left - Bump(side * person.eyes.offset, -0.08, 0.26, 0.14, 0.22).on(u, v)
    rim: Field = np.clip((np.abs(head.turn[HALF]) - 0.8) / 0.2, 0, 1)
    return left - rim * 0.10


def _enlarge(field: Field, size: tuple[int, int]) -> Field:
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))
