"""Wrinkles of forehead, brows, eyes and mouth, as deep as age makes them."""

import numpy as np

from faceline.datasets.sample.canvas import SIDES
from faceline.datasets.sample.person import Field
from faceline.datasets.sample.portrait import Portrait

FOREHEAD = (-0.52, -0.64, -0.76)  # v of its lines, in the order in which they appear


def draw_wrinkles(portrait: Portrait, rng: np.random.Generator) -> None:
    """All wrinkles of the face; the young have none."""
    waves = rng.normal(0, 0.3, len(FOREHEAD))
    if portrait.person.skin.wrinkles <= 0.02:
        return
    _forehead(portrait, waves)
    for side in SIDES:
        _between_brows(portrait, side)
        _beside_mouth(portrait, side)
        _beside_eye(portrait, side)
        _under_eye(portrait, side * 0.5)


def _forehead(portrait: Portrait, waves: Field) -> None:
    wrinkles = portrait.person.skin.wrinkles
    width, depth = 0.022 + 0.010 * wrinkles, 0.40 * wrinkles * (0.75 if portrait.person.life.female else 1.0)
    for line, (v, wave) in enumerate(zip(FOREHEAD, waves.tolist(), strict=True)):
        if wrinkles <= 0.12 * (line + 1):
            return
        half = 0.62 - 0.05 * line

        def curve(u: Field, v: float = v, wave: float = wave) -> Field:
            ripple: Field = np.cos(3 * u + wave) * 0.05
            return ripple + (v - 0.02)

        portrait.head.groove(-half, half, curve, width=width, depth=depth)


def _between_brows(portrait: Portrait, side: float) -> None:
    wrinkles = portrait.person.skin.wrinkles
    if wrinkles > 0.3 and portrait.person.life.male:

        def frown(v: Field) -> Field:
            return np.full_like(v, side * 0.10)

        portrait.head.groove(-0.38, -0.14, frown, width=0.02, depth=0.3 * (wrinkles - 0.2), upright=True)


def _beside_mouth(portrait: Portrait, side: float) -> None:
    """The fold from nose to mouth, and the line from mouth to chin."""
    head, mouth, wrinkles = portrait.head, portrait.person.mouth.v, portrait.person.skin.wrinkles

    def fold(v: Field) -> Field:
        out: Field = np.clip((v - 0.55) / (mouth - 0.5), 0, 2) ** 0.8
        return (out * 0.34 + 0.20) * side

    def drop(v: Field) -> Field:
        return ((v - mouth) * 0.15 + 0.48) * side

    end = mouth + 0.12 * (0.3 + wrinkles)
    head.groove(0.56, end, fold, width=0.035, depth=0.10 + 0.42 * wrinkles, upright=True)
    if wrinkles > 0.25:
        head.groove(mouth + 0.08, mouth + 0.45, drop, width=0.028, depth=0.30 * (wrinkles - 0.15), upright=True)


def _beside_eye(portrait: Portrait, side: float) -> None:
    """Crow's feet."""
    wrinkles = portrait.person.skin.wrinkles
    if wrinkles <= 0.25:
        return
    for toe in (-1, 0, 1):

        def curve(u: Field, toe: int = toe) -> Field:
            return ((u * side - 0.72) * 0.22 + 0.05) * toe + 0.03

        start = side * 0.80 - 0.13
        portrait.head.groove(start, start + 0.26, curve, width=0.018, depth=0.32 * (wrinkles - 0.15))


def _under_eye(portrait: Portrait, centre: float) -> None:
    """The bag under the eye, and a second one for the old."""
    head, wrinkles = portrait.head, portrait.person.skin.wrinkles

    def bag(u: Field) -> Field:
        return (u - centre) ** 2 * -0.7 + (0.20 + 0.06 * wrinkles)

    def second(u: Field) -> Field:
        return (u - 0.9 * centre) ** 2 * -0.7 + (0.32 + 0.06 * wrinkles)

    head.groove(centre - 0.25, centre + 0.25, bag, width=0.035, depth=0.08 + 0.28 * wrinkles)
    if wrinkles > 0.5:
        head.groove(centre - 0.22, centre + 0.22, second, width=0.03, depth=0.25 * (wrinkles - 0.3))
