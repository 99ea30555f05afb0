"""Nose and mouth."""

import math
from dataclasses import dataclass

import numpy as np

from faceline.datasets.sample.canvas import SIDES, Window
from faceline.datasets.sample.person import Field
from faceline.datasets.sample.portrait import Portrait
from faceline.datasets.sample.shading import NOSE_REACH


@dataclass(frozen=True, eq=False)
class _Lips:
    """The window around the mouth and, for each pixel, where it lies between the lips."""

    where: Window
    across: Field  # share of the half width: 0 in the middle, 1 at the corners
    line: Field  # v of the line between the lips
    light: Field
    front: Field


def draw_nose(portrait: Portrait) -> None:
    """Nostrils and wings; the bridge and the tip are light alone."""
    head, nose = portrait.head, portrait.person.nose
    for side in SIDES:
        where = head.window(side * 0.1, nose.v + 0.08, 0.25)
        u, v = head.u[where] + NOSE_REACH * math.sin(head.pose.yaw), head.v[where]
        nostril = ((u - side * nose.width * 0.48) / 0.062) ** 2 + ((v - (nose.v + 0.105)) / 0.032) ** 2
        head.tint(where, head.front[where] * np.exp(-nostril), 0.38)
        radius = np.sqrt(
            ((u - side * nose.width * 0.62) / (0.5 * nose.width)) ** 2 + ((v - (nose.v + 0.03)) / 0.12) ** 2
        )
        wing = np.exp(-(((radius - 1.05) / 0.22) ** 2)) * np.clip((side * u - 0.4 * nose.width) / 0.06, 0, 1)
        head.tint(where, head.front[where] * wing, 0.74)


def draw_mouth(portrait: Portrait) -> None:
    """Lips, teeth or the line between the lips, and the corners."""
    head, mouth = portrait.head, portrait.person.mouth
    where = head.window(0, mouth.v, mouth.width + 0.25)
    across = np.clip(np.abs(head.u[where]) / mouth.width, 0, 1.3)
    line = mouth.v - mouth.smile * (across**2 - 0.35)
    lips = _Lips(where, across, line, portrait.shade.factor[where], head.front[where])
    _flesh(portrait, lips)
    if mouth.teeth:
        _teeth(portrait, lips)
    else:
        between = np.exp(-(((head.v[where] - line) / 0.022) ** 2)) * np.clip((1.06 - across) / 0.1, 0, 1)
        head.tint(where, between * lips.front, 0.38)
    for side in SIDES:
        corner = ((head.u[where] - side * mouth.width) / 0.06) ** 2
        corner = corner + ((head.v[where] - (mouth.v - 0.65 * mouth.smile)) / 0.05) ** 2
        head.tint(where, np.exp(-corner) * lips.front, 0.68)


def _flesh(portrait: Portrait, lips: _Lips) -> None:
    head, mouth, across = portrait.head, portrait.person.mouth, lips.across
    v = head.v[lips.where]
    bow = np.exp(-(((across - 0.22) / 0.2) ** 2)) * 0.25 - np.exp(-((across / 0.1) ** 2)) * 0.15
    upper = lips.line - mouth.lip * (0.85 + bow) * np.clip(1 - across**2.2, 0, 1)
    lower = lips.line + mouth.lip * 1.25 * np.clip(1 - across**2, 0, 1)
    mask = np.clip(np.minimum(v - upper, lower - v) / (head.edge * 1.5) + 0.5, 0, 1) * (across < 1) * lips.front
    light = (lips.light * 0.9 + 0.1) * np.where(v < lips.line, 0.80, 1.02)
    head.paint(lips.where, mask * 0.85, mouth.colour * light[..., None])


def _teeth(portrait: Portrait, lips: _Lips) -> None:
    head, old, across = portrait.head, portrait.person.life.old, lips.across
    off = head.v[lips.where] - lips.line
    half_gap = 0.5 * (0.012 + 0.10 * (1 - 0.3 * old))
    opening = half_gap * np.clip(1 - across**2 * 1.1, 0, 1) - np.abs(off - 0.01)
    mask = np.clip(opening / head.edge + 0.5, 0, 1) * (across < 0.95) * lips.front
    light = (lips.light * 0.8 + 0.1)[..., None]
    head.paint(lips.where, mask, np.array([226, 220, 208], np.float32) * (1 - 0.14 * old) * light)
    head.tint(lips.where, mask * np.clip(off / 0.05, 0, 1), 0.6)
    for lip in (-1, 1):
        rim = (off - 0.01 - lip * half_gap * np.clip(1 - across**2, 0, 1)) / 0.016
        head.tint(lips.where, np.exp(-(rim**2)) * (across < 1) * lips.front, 0.5)
