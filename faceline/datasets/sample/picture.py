"""Pictures: people before a background, in some light, through a camera with blur and noise."""

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from faceline.datasets.labels import Gender, Race
from faceline.datasets.sample.canvas import Pose, noise
from faceline.datasets.sample.face import draw_person
from faceline.datasets.sample.person import Field, Person, grow
from faceline.datasets.sample.shading import Light

CROWN = 0.8  # of a face as measured, above the eyes (units); a face's height is this and the chin's
OUT_OF_FOCUS = 0.02  # radius of the blur as a share of the height: MTCNN still finds the face, nothing is sharp


@dataclass(frozen=True)
class Sitter:
    """Who is on a picture: the seeds of an identity, and how old the person is on it (years)."""

    identity: tuple[int, ...]
    age: int
    gender: Gender
    race: Race


@dataclass(frozen=True)
class Shot:
    """A picture to take; equal shots give equal pixels, in any process. `scene` seeds pose, light and background."""

    scene: tuple[int, ...]
    size: int  # pixels a side; two sitters get twice the width
    sitters: tuple[Sitter, ...]  # none: a picture of things, without a face
    blurred: bool = False  # out of focus, of faces seen from the front


def take(shot: Shot) -> Image.Image:
    """The picture, RGB."""
    rng = np.random.default_rng(shot.scene)
    width = shot.size * max(1, len(shot.sitters))
    picture = _background(rng, shot.size, width)
    if not shot.sitters:
        picture = _things(picture, rng)
    light = Light(_spread(rng, 0.45), -0.25 + _spread(rng, 0.25), float(rng.uniform(0.30, 0.5)))
    for place, sitter in enumerate(shot.sitters):
        person = grow(sitter.identity, sitter.age, sitter.gender, sitter.race)
        pose = _pose(person, shot.size * (place + 0.5), shot.size, rng)
        if shot.blurred:
            pose = replace(pose, roll=0.0, yaw=0.0, pitch=0.0)
        draw_person(picture, person, pose, light, rng)
    image = _develop(picture, rng)
    return image.filter(ImageFilter.GaussianBlur(OUT_OF_FOCUS * shot.size)) if shot.blurred else image


def _pose(person: Person, middle: float, size: int, rng: np.random.Generator) -> Pose:
    """A face of 45 to 68 % of the picture's height around the column `middle`."""
    chin = person.outline.chin
    scale = float(rng.uniform(0.45, 0.68)) * size / (chin + CROWN)
    roll, yaw, pitch = _spread(rng, 0.09), _spread(rng, 0.20), _spread(rng, 0.10)
    x = middle + size * _spread(rng, 0.025)
    y = size * (0.5 + _spread(rng, 0.02)) - scale * (chin - 0.95) / 2
    return Pose(x, y, scale, roll, yaw, pitch)


def _background(rng: np.random.Generator, height: int, width: int) -> Field:
    """Two colours in a gradient, in blotches, or in patches with hard edges."""
    kind = rng.random()
    first = rng.uniform(25, 230) + rng.normal(0, 16, 3)
    second = np.clip(first + rng.normal(0, 40) + rng.normal(0, 14, 3), 5, 250)
    rows, columns = (int(number) for number in rng.integers(3, (8, 14)))
    if kind < 0.35:
        mix = noise(rng, height, width, 2, 2)
    elif kind < 0.8:
        mix = noise(rng, height, width, rows, min(columns, 7))
    else:
        mix = (noise(rng, height, width, 3, columns) > 0.5).astype(np.float32)
    mix = np.clip(mix, 0, 1)[..., None]
    return (np.clip(first, 5, 250) * (1 - mix) + second * mix).astype(np.float32)


def _things(picture: Field, rng: np.random.Generator) -> Field:
    """Some discs and boxes: nothing that could be taken for a face."""
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 9))):
        x, y = rng.uniform(-0.15, 1, 2) * image.height
        width, height = rng.uniform(0.08, 0.55, 2) * image.height
        red, green, blue = (int(level) for level in rng.integers(10, 245, 3))
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape([x, y, x + width, y + height], fill=(red, green, blue))
    return np.asarray(image).astype(np.float32)


def _develop(picture: Field, rng: np.random.Generator) -> Image.Image:
    """Uneven exposure, a cast of colour, blur of the lens and noise of the sensor."""
    height, width = picture.shape[:2]
    vignette = 1 + 0.16 * (noise(rng, height, width, 2, 2) - 0.5)
    cast = (1 + rng.normal(0, 0.035, 3)).astype(np.float32)
    exposed = picture * vignette[..., None] * cast * math.exp(rng.normal(0, 0.10))
    image = Image.fromarray(np.clip(exposed, 0, 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.0)) * max(width, height) / 200))
    level = float(rng.uniform(1, 5))  # grey levels
    grain = rng.standard_normal((height, width, 1), dtype=np.float32) * level
    grain = grain + rng.standard_normal((height, width, 3), dtype=np.float32) * (level * 0.4)
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def _spread(rng: np.random.Generator, deviation: float) -> float:
    """A normal deviate, cut at two standard deviations."""
    return float(np.clip(rng.normal(), -2, 2)) * deviation
