"""Hair: what hangs behind the head, what frames the face, its shadow, and a girl's hair band."""

import numpy as np

from faceline.datasets.sample.canvas import EVERYWHERE, SKULL
from faceline.datasets.sample.person import Field
from faceline.datasets.sample.portrait import Portrait

HANGING = ("long", "bob")  # styles that hang down beside the face
BARE = ("bald", "baby")  # styles that hardly stand off the skull


def draw_hair_behind(portrait: Portrait) -> None:
    """Long hair behind head and neck."""
    head, person = portrait.head, portrait.person
    if person.hair.style not in HANGING:
        return
    bottom, wide = (2.6, 1.22) if person.hair.style == "long" else (1.35, 1.26)
    width = person.outline.width * wide + 0.05 * portrait.soft
    beyond = (head.x / width) ** 2 + _above(head.y, person.outline.crown * 1.16) - 1
    mask = head.step(beyond * 0.6) * head.step(head.y - bottom + 0.15 * np.abs(head.x), 6)
    head.paint(EVERYWHERE, mask, portrait.hair * 0.62)


def draw_hair(portrait: Portrait) -> None:
    """The hair above and beside the face, with its shadow on the forehead."""
    head, hair = portrait.head, portrait.person.hair
    scalp, line = _scalp(portrait), _hairline(portrait)
    mask = np.maximum(_crown(portrait, line) * scalp, _sides(portrait, scalp))
    if hair.style == "baby":
        mask = mask * 0.45
    mask = np.clip(mask, 0, 1)
    round_off = 1 - 0.35 * (head.x / portrait.person.outline.width) ** 2 + 0.25 * head.x * portrait.shade.side
    light = np.clip(round_off, 0, 2) * np.clip(1 - 0.12 * (head.y + 1.2), 0.6, 1.1)
    head.paint(EVERYWHERE, mask, portrait.hair * np.clip(0.45 + 0.75 * light, 0.3, 1.15)[..., None])
    if hair.style not in BARE:
        shadow = np.clip(1 - np.abs(head.v - line - 0.03) / 0.06, 0, 1)
        head.tint(EVERYWHERE, shadow * head.front * (1 - mask), 0.80)
    if hair.band is not None:
        _band(portrait, hair.band, scalp)


def _hairline(portrait: Portrait) -> Field:
    """v of the edge between forehead and hair at each pixel."""
    head, hair = portrait.head, portrait.person.hair
    across = np.abs(head.u) / portrait.person.outline.width
    line: Field = hair.line - hair.recession * 0.42 + 1.805 * np.clip(across - 0.50, 0, 1) ** 1.3
    line = line - hair.recession * 0.55 * np.exp(-(((across - 0.55) / 0.22) ** 2)) + 0.10 * portrait.strands
    if not hair.fringe or hair.style == "bald":
        return line
    fringe: Field = -0.50 + 0.10 * np.cos(4 * head.u + hair.parting) + 0.30 * portrait.strands
    fringe = fringe + 0.5 * np.clip(across - 0.6, 0, 1)
    return np.maximum(line, fringe)


def _scalp(portrait: Portrait) -> Field:
    """1 within the outline of head and hair."""
    head, outline, style = portrait.head, portrait.person.outline, portrait.person.hair.style
    width = outline.width * (1.10 if style in (*HANGING, "bald") else 1.05)
    crown = outline.crown * (1.02 if style in BARE else 1.13)
    below = (np.maximum(head.y, 0) / (outline.chin * 1.1)) ** 2
    return head.step(((head.x / width) ** 2 + _above(head.y, crown) + below - 1) * 0.55)


def _crown(portrait: Portrait, line: Field) -> Field:
    """Hair above the hairline; a bald head keeps a ring at the sides."""
    head = portrait.head
    if portrait.person.hair.style != "bald":
        return head.step(head.v - line, 8 if portrait.person.hair.fringe else 5)
    rim = (0.94 - np.abs(head.turn)) * portrait.person.outline.width + 0.05 * portrait.strands
    return 0.8 * head.step(rim, 4) * (head.y > -0.75) * head.step(head.y - 0.15, 6)


def _sides(portrait: Portrait, scalp: Field) -> Field:
    """Hair beside the face: hanging down, or cut at the ears."""
    head, style, outline = portrait.head, portrait.person.hair.style, portrait.person.outline
    if style in BARE:
        return np.zeros_like(head.x)
    if style not in HANGING:
        share, bottom = (0.93, 0.10) if style == "short" else (0.95, -0.05)
        rim = (share - np.abs(head.turn)) * outline.width + 0.04 * portrait.strands
        return head.step(rim, 4) * (head.y > -0.8) * head.step(head.y - bottom, 6) * scalp
    cheek = 0.90 * float(np.sqrt(max(1 - (0.5 / outline.chin) ** outline.jaw, 0.1)))
    inner = np.where(head.y < 0.5, 0.90 * head.half_width, outline.width * (cheek - 0.10 * np.clip(head.y - 0.5, 0, 1)))
    outer = outline.width * (1.20 + 0.05 * portrait.soft)
    bottom = 2.3 if style == "long" else 1.35
    mask = head.step(inner - np.abs(head.x) + 0.05 * portrait.strands, 3) * head.step(np.abs(head.x) - outer, 3)
    mask = mask * np.clip((head.y + 0.6) / 0.3, 0, 1)
    return mask * head.step(head.y - bottom + 0.15 * np.abs(head.x), 6)


def _band(portrait: Portrait, colour: Field, scalp: Field) -> None:
    """A little girl's hair band with a bow."""
    head, light = portrait.head, portrait.shade.factor[..., None]
    band = np.abs(head.v + 0.88 + 0.10 * head.u**2) - 0.075
    head.paint(EVERYWHERE, head.step(band, 1.5) * scalp, colour * (0.45 + 0.55 * light))
    bow = np.hypot((head.u - 0.45) / 0.26, (head.v + 0.98) / 0.19) - 1
    head.paint(EVERYWHERE, head.step(bow * 0.2, 1.5) * (head.beyond < 0.5), colour * (0.60 + 0.35 * light))


def _above(y: Field, crown: float) -> Field:
    """The curve of the skull above the eyes: 0 at their height, 1 at the crown."""
    return (np.maximum(-y, 0) / crown) ** SKULL
