"""Skin: colour, blush, age spots, stubble and beard."""

import numpy as np

from faceline.datasets.sample.canvas import EVERYWHERE, SIDES
from faceline.datasets.sample.portrait import Portrait


def draw_skin(portrait: Portrait) -> None:
    """The lit surface of the head, with blush and age spots."""
    head, skin, old = portrait.head, portrait.person.skin, portrait.person.life.old
    blotches = 1 + (0.05 + 0.10 * old) * portrait.grain + 0.05 * portrait.soft
    surface = skin.colour * (blotches * portrait.shade.factor)[..., None] + 255 * portrait.shade.gloss[..., None]
    head.paint(EVERYWHERE, head.inside, surface)
    for side in SIDES:
        where = head.window(side * 0.6, 0.5, 0.6)
        u, v = head.u[where], head.v[where]
        glow = np.exp(-(((u - side * 0.62) / 0.26) ** 2) - ((v - 0.48) / 0.22) ** 2) * min(1.0, 0.3 + skin.blush)
        head.tint(where, head.front[where] * glow, (1.03, 0.86, 0.86))
    for u0, v0, radius in skin.spots:
        where = head.window(u0, v0, radius * 3)
        spot = np.exp(-((head.u[where] - u0) ** 2 + (head.v[where] - v0) ** 2) / radius**2)
        head.tint(where, head.front[where] * spot, (0.80, 0.72, 0.66))


def draw_beard(portrait: Portrait) -> None:
    """A beard, or the shadow of one, over jaw, chin and upper lip."""
    head, person = portrait.head, portrait.person
    if not person.beard and person.stubble <= 0.03:
        return
    u, v, mouth = head.u, head.v, person.mouth.v
    jaw = np.clip((v - (mouth - 0.30) + 0.25 * np.abs(u)) / 0.18, 0, 1)
    jaw = jaw * np.clip((head.beyond + 0.55 + 0.2 * (v > mouth)) / 0.3, 0, 1) * (v > 0.5)
    moustache = np.exp(-(((v - (mouth - 0.17)) / 0.09) ** 2)) * np.clip((0.52 - np.abs(u)) / 0.12, 0, 1)
    chin = np.exp(-(((v - (mouth + 0.42)) / 0.2) ** 2) - (u / 0.4) ** 2)
    lips = np.exp(-(((v - mouth) / 0.10) ** 2)) * (np.abs(u) < 0.4)
    mask = np.clip(np.maximum(np.maximum(jaw, moustache), chin), 0, 1) * head.front * (1 - lips)
    if person.beard:
        density = np.clip(0.78 + 0.5 * portrait.grain + 0.4 * portrait.strands, 0, 1)
        colour = portrait.hair * (0.6 * (0.3 + 0.7 * portrait.shade.factor))[..., None]
        head.paint(EVERYWHERE, 0.7 * mask * density, colour)  # denser ones hide one face in twenty from MTCNN
    else:
        head.tint(EVERYWHERE, mask * person.stubble * (1 + 0.6 * portrait.grain), (0.62, 0.66, 0.70))
