"""Neck, clothes and ears: what is drawn behind the face."""

import numpy as np

from faceline.datasets.sample.canvas import EVERYWHERE, SIDES
from faceline.datasets.sample.hair import HANGING
from faceline.datasets.sample.portrait import Portrait

HIDDEN = 0.35  # radians; an ear on the far side of a head turned further is not seen


def draw_body(portrait: Portrait) -> None:
    """Neck in the shadow of the chin, and the collar of what is worn."""
    head, person, life = portrait.head, portrait.person, portrait.person.life
    chin, x, y = person.outline.chin, head.x, head.y
    width = 0.52 + 0.10 * life.male * life.adult - 0.05 * (1 - life.adult)
    neck = head.step(np.abs(x) - width - 0.12 * np.maximum(y - chin, 0)) * (y > 0.8)
    under = np.clip(1 - (y - chin + 0.05) / 0.55, 0, 1)
    head.paint(EVERYWHERE, neck, person.skin.colour * (0.82 - 0.42 * under**2)[..., None])
    collar = chin + 0.42 + 0.18 * np.abs(x) ** 1.6
    clothes = head.step(collar - y, 2) * head.step(np.abs(x) - 2.35, 4)
    weave = 0.75 + 0.2 * portrait.strands + 0.15 * portrait.soft
    head.paint(EVERYWHERE, clothes, person.cloth * weave[..., None])


def draw_ears(portrait: Portrait) -> None:
    """The ears that neither hair nor the turn of the head hides."""
    head, person = portrait.head, portrait.person
    if person.hair.style in HANGING:
        return
    for side in SIDES:
        if side * head.pose.yaw > HIDDEN:
            continue
        across = (head.x - side * person.outline.width * 0.99) / 0.15
        beyond = np.sqrt(across**2 + ((head.y - 0.22) / 0.32) ** 2) - 1
        head.paint(EVERYWHERE, head.step(beyond * 0.15), person.skin.colour * 0.80)
        head.tint(EVERYWHERE, np.clip(-beyond * 1.5, 0, 1), 0.72)
