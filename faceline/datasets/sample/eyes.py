"""Eyes, brows and glasses."""

from dataclasses import dataclass

import numpy as np

from faceline.datasets.labels import Race
from faceline.datasets.sample.canvas import SIDES, Window
from faceline.datasets.sample.person import Field
from faceline.datasets.sample.portrait import Portrait

FRAME = (38, 34, 34)  # colour of glasses


@dataclass(frozen=True, eq=False)
class _Opening:
    """The window around one eye and, for each pixel, where it lies between the lids."""

    where: Window
    u: Field  # from the middle of this eye
    level: Field  # v, levelled along the slant of the eye
    across: Field  # squared share of the half width: 1 at both corners
    upper: Field  # level of the upper lid
    lower: Field
    open: Field  # 1 between the lids
    front: Field


def draw_eyes(portrait: Portrait, rng: np.random.Generator) -> None:
    """Both eyes with their lids and brows."""
    gaze = float(rng.normal(0, 0.015))
    for side in SIDES:
        opening = _open(portrait, side)
        _eyeball(portrait, opening, gaze)
        _lids(portrait, opening)
        _brow(portrait, opening, side)


def draw_glasses(portrait: Portrait) -> None:
    """Frames around both eyes and a bridge, for those who wear them."""
    if not portrait.person.glasses:
        return
    head = portrait.head
    for side in SIDES:
        where = head.window(side * portrait.person.eyes.offset, 0.03, 0.6)
        u, v = np.abs((head.u[where] - side * 0.5) / 0.40), np.abs((head.v[where] - 0.05) / 0.29)
        rim = np.abs(np.cbrt(u**3 + v**3) - 1) * 0.34 - 0.022
        head.paint(where, head.step(rim) * head.front[where], FRAME)
    where = head.window(0, 0, 0.25)
    head.paint(where, head.step(np.abs(head.v[where] + 0.02) - 0.022) * (np.abs(head.u[where]) < 0.11), FRAME)


def _open(portrait: Portrait, side: float) -> _Opening:
    head, eyes = portrait.head, portrait.person.eyes
    where = head.window(side * eyes.offset, -0.1, 0.62)
    u, front = head.u[where] - side * eyes.offset, head.front[where]
    outward = side * u / eyes.width  # towards the temple
    level = head.v[where] + eyes.tilt * outward - eyes.droop * np.clip(outward, 0, 1.5)
    across = np.clip(outward, -1.25, 1.25) ** 2
    upper, lower = -eyes.height * (1 - across) * 1.1, eyes.height * 0.80 * (1 - across)
    between = np.clip(np.minimum(level - upper, lower - level) / (head.edge * 1.2) + 0.5, 0, 1)
    return _Opening(where, u, level, across, upper, lower, between * (across < 1.02) * front, front)


def _eyeball(portrait: Portrait, opening: _Opening, gaze: float) -> None:
    head, eyes = portrait.head, portrait.person.eyes
    edge, radius, v = head.edge, eyes.iris_radius, head.v[opening.where]
    light = (0.35 + 0.65 * portrait.shade.factor[opening.where])[..., None]
    white = np.array([226, 220, 216], np.float32) * (1 - 0.10 * portrait.person.life.old)
    lash = np.clip(0.62 + 0.5 * (opening.level - opening.upper) / (eyes.height * 1.9), 0.55, 1)[..., None]
    head.paint(opening.where, opening.open, white * light * lash)
    distance = np.sqrt((opening.u - gaze) ** 2 + (v + 0.012) ** 2)
    rays = (0.55 + 0.45 * np.clip(1.2 - distance / radius, 0, 1))[..., None]
    iris = np.clip((radius - distance) / (edge * 1.2) + 0.5, 0, 1)
    head.paint(opening.where, iris * opening.open, eyes.iris * rays * (0.5 + 0.5 * light))
    pupil = np.clip((radius * 0.45 - distance) / edge + 0.5, 0, 1)
    head.paint(opening.where, pupil * opening.open, (14, 12, 12))
    glint = np.clip((0.026 - np.hypot(opening.u - gaze + 0.03, v + 0.045)) / edge + 0.5, 0, 1)
    head.paint(opening.where, glint * opening.open * 0.8, (245, 245, 245))


def _lids(portrait: Portrait, opening: _Opening) -> None:
    """Lashes, crease, lower lid and make-up."""
    head, person, where = portrait.head, portrait.person, opening.where
    over, under = opening.level - opening.upper, opening.level - opening.lower
    thickness = 0.020 + (0.010 if person.makeup else 0.0)
    lashes = np.exp(-((over / thickness) ** 2)) * np.clip((1.12 - opening.across) / 0.1, 0, 1)
    head.tint(where, lashes * opening.front, 0.30 if person.life.female else 0.40)
    crease = np.exp(-(((over + 0.075 + 0.02 * (1 - person.life.old)) / 0.022) ** 2))
    crease = crease * np.clip((1.25 - opening.across) / 0.4, 0, 1)
    head.tint(where, crease * opening.front, 0.86 if person.life.race is Race.ASIAN else 0.74)
    rim = np.exp(-((under / 0.018) ** 2)) * np.clip((1.08 - opening.across) / 0.2, 0, 1)
    head.tint(where, rim * opening.front, 0.66)
    if person.makeup:
        shadow = np.exp(-(((opening.level + person.eyes.height + 0.08) / 0.06) ** 2))
        shadow = shadow * np.clip((1.3 - opening.across) / 0.5, 0, 1)
        head.tint(where, shadow * opening.front * 0.5, (0.72, 0.66, 0.74))


def _brow(portrait: Portrait, opening: _Opening, side: float) -> None:
    head, brows, where, half = portrait.head, portrait.person.brows, opening.where, 0.36
    outward = side * opening.u + 0.02
    line = brows.v - brows.arch * (1 - ((outward - 0.08) / half) ** 2) + 0.05
    thickness = brows.thickness * np.clip(1.15 - 0.5 * (outward + half) / (2 * half), 0.4, 1.1)
    mask = np.exp(-((np.abs(head.v[where] - line) / (thickness * 1.5)) ** 2.5))
    mask = mask * np.clip((half - np.abs(outward)) / 0.07, 0, 1) * opening.front
    mask = mask * brows.density * (1 + 0.5 * portrait.strands[where])
    head.paint(where, np.clip(mask, 0, 1), brows.colour * (0.35 + 0.65 * portrait.shade.factor[where])[..., None])
