"""What every feature of a face is drawn from: the head on the canvas, the person, the light and the textures."""

from dataclasses import dataclass

import numpy as np

from faceline.datasets.sample.canvas import Head, Pose, noise
from faceline.datasets.sample.person import Field, Person
from faceline.datasets.sample.shading import Light, Shade, shade


@dataclass(frozen=True, eq=False)
class Portrait:
    """One person on one picture; the textures are float32 (height, width) around 0."""

    head: Head
    person: Person
    shade: Shade
    soft: Field  # broad blotches
    strands: Field  # fine upright stripes, for hair
    grain: Field  # of the skin
    hair: Field  # colour of the hair with its texture, (height, width, 3)


def set_up(picture: Field, person: Person, pose: Pose, light: Light, rng: np.random.Generator) -> Portrait:
    """A portrait of `person` about to be drawn on `picture` (float32, height x width x 3, 0 to 255)."""
    head = Head(picture, person.outline, pose)
    height, width = head.x.shape
    tall, wide = height / pose.scale, width / pose.scale  # of the canvas, in units
    soft = noise(rng, height, width, 6, 6) - 0.5
    strands = noise(rng, height, width, max(3, int(tall * 1.2)), max(8, int(wide * 14))) - 0.5
    grain = noise(rng, height, width, max(4, int(tall * 6)), max(4, int(wide * 6))) - 0.5
    hair = (1 + 0.55 * strands + 0.25 * soft)[..., None] * person.hair.colour
    return Portrait(head, person, shade(head, person, light), soft, strands, grain, hair)
