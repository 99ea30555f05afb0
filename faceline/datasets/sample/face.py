"""Drawing a person: every feature in the order in which one covers the other."""

import numpy as np

from faceline.datasets.sample.body import draw_body, draw_ears
from faceline.datasets.sample.canvas import Pose
from faceline.datasets.sample.eyes import draw_eyes, draw_glasses
from faceline.datasets.sample.hair import draw_hair, draw_hair_behind
from faceline.datasets.sample.mouth import draw_mouth, draw_nose
from faceline.datasets.sample.person import Field, Person
from faceline.datasets.sample.portrait import set_up
from faceline.datasets.sample.shading import Light
from faceline.datasets.sample.skin import draw_beard, draw_skin
from faceline.datasets.sample.wrinkles import draw_wrinkles


def draw_person(picture: Field, person: Person, pose: Pose, light: Light, rng: np.random.Generator) -> None:
    """Draw `person` onto `picture` (float32, height x width x 3, 0 to 255); `rng` makes textures and gaze."""
    portrait = set_up(picture, person, pose, light, rng)
    draw_hair_behind(portrait)
    draw_body(portrait)
    draw_ears(portrait)
    draw_skin(portrait)
    draw_wrinkles(portrait, rng)
    draw_beard(portrait)
    draw_nose(portrait)
    draw_mouth(portrait)
    draw_eyes(portrait, rng)
    draw_hair(portrait)
    draw_glasses(portrait)
