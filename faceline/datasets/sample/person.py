"""The traits of a synthetic person: all that does not depend on the picture (pose, light, background).

Every group of traits draws from a generator of its own, always as many numbers, whatever the age: so the same identity
at another age is the same person grown older. The numbers are fitted by eye and against MTCNN's answers on real faces.

The unit of length is the distance between an adult's pupils. The origin lies between the eyes, u points to the right
of the picture, v down. An adult has the eyes at (±.5, 0), the tip of the nose at (0, .58), the corners of the mouth at
(±.42, 1.01) and the chin at v = 1.70. Colours are RGB, 0 to 255.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from faceline.datasets.labels import Gender, Race

Field = npt.NDArray[np.floating[Any]]
Rgb = tuple[int, int, int]

SKIN: dict[Race, tuple[Rgb, ...]] = {
    Race.WHITE: ((236, 200, 178), (226, 184, 158), (210, 166, 138)),
    Race.BLACK: ((120, 80, 58), (96, 64, 48), (142, 98, 72)),
    Race.ASIAN: ((232, 198, 164), (222, 184, 146), (206, 168, 130)),
    Race.INDIAN: ((178, 130, 96), (160, 114, 82), (192, 146, 110)),
    Race.OTHER: ((206, 160, 126), (190, 146, 112), (216, 174, 144)),
}
HAIR: dict[Race, tuple[Rgb, ...]] = {
    Race.WHITE: ((74, 52, 36), (110, 78, 48), (176, 140, 88), (48, 36, 30), (128, 66, 38)),
    Race.BLACK: ((26, 22, 20), (36, 28, 24)),
    Race.ASIAN: ((28, 24, 24), (42, 32, 28)),
    Race.INDIAN: ((28, 22, 20), (38, 28, 24)),
    Race.OTHER: ((46, 34, 28), (66, 46, 34), (30, 26, 24)),
}
IRIS: dict[Race, tuple[Rgb, ...]] = {
    Race.WHITE: ((92, 120, 140), (96, 112, 84), (96, 66, 44), (74, 52, 38)),
    Race.BLACK: ((50, 34, 26),),
    Race.ASIAN: ((56, 38, 28),),
    Race.INDIAN: ((58, 40, 28),),
    Race.OTHER: ((74, 52, 36), (58, 40, 28), (92, 92, 60)),
}
MOST_SPOTS = 6


@dataclass(frozen=True)
class Life:
    """What age and gender do to every feature: `female` is 0 or 1, the others run from 0 to 1."""

    age: int  # years
    female: float
    adult: float  # 0: an infant's proportions, 1: an adult's
    old: float  # the ageing of skin and flesh
    mature: float  # how strong the secondary cues of gender are
    race: Race

    @property
    def male(self) -> float:
        """1 for a man or boy, else 0."""
        return 1 - self.female


@dataclass(frozen=True, eq=False)
class Skin:
    """Colour and marks of the skin; `spots` are (u, v, radius)."""

    colour: Field
    blush: float
    wrinkles: float
    spots: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Outline:
    """The head from the front: v of the chin, half the width, height of the crown above the eyes, squareness."""

    chin: float
    width: float
    crown: float
    jaw: float


@dataclass(frozen=True, eq=False)
class Eyes:
    """Both eyes: distance from the middle, half width and height of the opening, iris, slant."""

    offset: float
    width: float
    height: float
    iris_radius: float
    iris: Field
    tilt: float
    droop: float


@dataclass(frozen=True, eq=False)
class Brows:
    """Both brows; `density` is their opacity."""

    colour: Field
    thickness: float
    v: float
    arch: float
    density: float


@dataclass(frozen=True, eq=False)
class Hair:
    """Hair of the head; `style` is one of baby, short, bob, long, up, bald; `band` the colour of a girl's hair band."""

    colour: Field
    style: str
    line: float
    recession: float
    fringe: bool
    parting: float
    band: Field | None


@dataclass(frozen=True)
class Nose:
    """Width at the wings and v of the tip."""

    width: float
    v: float


@dataclass(frozen=True, eq=False)
class Mouth:
    """v of the line between the lips, half its width, fullness, colour and expression."""

    v: float
    width: float
    lip: float
    colour: Field
    smile: float
    teeth: bool


@dataclass(frozen=True, eq=False)
class Person:
    """One person at one age."""

    life: Life
    skin: Skin
    outline: Outline
    eyes: Eyes
    brows: Brows
    hair: Hair
    nose: Nose
    mouth: Mouth
    stubble: float
    beard: bool
    makeup: bool
    glasses: bool
    cloth: Field


def grow(identity: Sequence[int], age: int, gender: Gender, race: Race) -> Person:
    """The person with the seeds `identity`, at `age` years."""
    life = _life(age, gender, race)
    # no stream is 0: NumPy's seed sequences cannot tell a trailing zero from nothing
    skin, outline, eyes, hair, features, extras = (np.random.default_rng([*identity, stream]) for stream in range(1, 7))
    skin_traits = _skin(life, skin)
    hair_traits, brows = _hair_and_brows(life, hair)
    makeup = bool(extras.random() < 0.75) and life.female > 0 and age > 15
    stubble = max(0.08, 0.38 + _spread(extras, 0.22))
    bearded, bespectacled = extras.random(2)
    cloth = np.clip(extras.uniform(30, 215) + extras.normal(0, 30, 3), 10, 240).astype(np.float32)
    nose, mouth = _nose_and_mouth(life, skin_traits.colour, makeup, features)
    return Person(
        life=life,
        skin=skin_traits,
        outline=_outline(life, outline),
        eyes=_eyes(life, eyes),
        brows=brows,
        hair=hair_traits,
        nose=nose,
        mouth=mouth,
        stubble=stubble if life.male and age >= 17 else 0.0,
        beard=bool(bearded < 0.22) and life.male > 0 and age > 19,
        makeup=makeup,
        glasses=bool(bespectacled < 0.03 + 0.22 * smoothstep(35, 70, age)) and age > 4,
        cloth=cloth,
    )


def smoothstep(low: float, high: float, x: float) -> float:
    """0 below `low`, 1 above `high`, and 3t² - 2t³ between."""
    t = min(1.0, max(0.0, (x - low) / (high - low)))
    return t * t * (3 - 2 * t)


def _life(age: int, gender: Gender, race: Race) -> Life:
    return Life(
        age=age,
        female=float(gender is Gender.FEMALE),
        adult=smoothstep(1, 17, age),
        old=0.35 * smoothstep(18, 60, age) + 0.65 * smoothstep(35, 92, age),
        mature=0.45 + 0.55 * smoothstep(8, 18, age),
        race=race,
    )


def _skin(life: Life, rng: np.random.Generator) -> Skin:
    old = life.old
    colour = _pick(SKIN[life.race], rng) * (1 + _spread(rng, 0.04))
    colour = colour + np.array([_spread(rng, 3) for _ in range(3)], np.float32)
    colour = colour * (1 - 0.18 * old) + float(colour.mean()) * 0.98 * 0.18 * old  # old skin is duller
    colour = colour * (1 - 0.10 * old) * (1 + 0.04 * (1 - life.adult))
    blush = 0.5 * (1 - life.adult) + 0.12 * life.female + abs(_spread(rng, 0.06))
    wrinkles = min(1.2, max(0.0, old * (1 + _spread(rng, 0.08))))
    spots = [(_spread(rng, 0.7), _spread(rng, 0.8) + 0.3, 0.02 + 0.03 * float(rng.random())) for _ in range(MOST_SPOTS)]
    count = int(10 * max(0.0, old - 0.45))
    return Skin(np.clip(colour, 30, 248), blush, wrinkles, tuple(spots[:count]))


def _outline(life: Life, rng: np.random.Generator) -> Outline:
    bony = life.male * life.mature
    return Outline(
        chin=(1.28 + 0.40 * life.adult + 0.05 * life.old) * (1 + _spread(rng, 0.025)) + 0.05 * bony,
        width=(1.05 + 0.06 * (1 - life.adult) + 0.05 * bony) * (1 + _spread(rng, 0.02)),
        crown=(1.62 - 0.10 * life.adult) * (1 + _spread(rng, 0.02)),
        jaw=2.05 + 1.15 * bony + 0.35 * (1 - life.adult) + 0.35 * life.old + _spread(rng, 0.12),
    )


def _eyes(life: Life, rng: np.random.Generator) -> Eyes:
    child, soft = 1 - life.adult, life.female * life.mature
    height = 0.105 + 0.045 * child + 0.014 * soft - 0.030 * life.old
    return Eyes(
        offset=0.5 + _spread(rng, 0.012),
        width=0.245 + 0.045 * child + 0.012 * soft + _spread(rng, 0.008),
        height=(height + _spread(rng, 0.008)) * (0.86 if life.race is Race.ASIAN else 1.0),
        iris_radius=0.100 + 0.028 * child,
        iris=_pick(IRIS[life.race], rng),
        tilt=0.03 + _spread(rng, 0.02),
        droop=0.05 * life.old,
    )


def _hair_and_brows(life: Life, rng: np.random.Generator) -> tuple[Hair, Brows]:
    age, female, old = life.age, life.female, life.old
    base = _pick(HAIR[life.race], rng)
    white = smoothstep(36, 72, age + _spread(rng, 3.5))
    dyed, cut, bald, fringe, banded = rng.random(5)
    grey = np.array([168, 166, 164], np.float32) + 38 * smoothstep(60, 85, age)
    infant = np.array([150, 116, 84], np.float32) if life.race in (Race.WHITE, Race.OTHER) else base + 15
    base = base * smoothstep(0.3, 4, age) + infant * (1 - smoothstep(0.3, 4, age))
    shown = white * (0.45 if female and dyed < 0.35 else 1.0)
    receding = smoothstep(25, 75, age) * max(0.0, 0.55 + _spread(rng, 0.5))
    band = rng.uniform(40, 235, 3).astype(np.float32)
    hair = Hair(
        colour=base * (1 - shown) + grey * shown,
        style=_style(life, cut, bald),
        line=-0.98 + 0.05 * life.adult - 0.14 * (1 - life.adult) + _spread(rng, 0.04),
        recession=0.15 * old if female else min(0.9, receding),
        fringe=bool(fringe < (0.3 if female else 0.12)) and age > 2,
        parting=_spread(rng, 0.3),
        band=band if female and age < 12 and banded < (0.85 if age < 1.5 else 0.35) else None,
    )
    bony, soft = life.male * life.mature, life.female * life.mature
    brows = Brows(
        colour=base * 0.8 * (1 - 0.6 * white) + grey * 0.6 * white,
        thickness=(0.026 + 0.034 * bony + 0.006 * life.adult) * (1 + _spread(rng, 0.12)),
        v=-0.285 - 0.07 * soft - 0.05 * (1 - life.adult) + _spread(rng, 0.012) + 0.03 * old * life.male,
        arch=0.07 + 0.05 * soft + _spread(rng, 0.012),
        density=(0.25 + 0.65 * smoothstep(0.5, 10, age)) * (1 - 0.35 * old * female),
    )
    return hair, brows


def _style(life: Life, cut: float, bald: float) -> str:
    """How the hair is worn; `cut` and `bald` are uniform draws."""
    if life.male and life.age > 30 and bald < 0.38 * smoothstep(30, 65, life.age):
        return "bald"
    if life.age < 1.5:
        return "baby"
    if life.male:
        return "short" if cut < 0.97 else "bob"
    return next(style for style, share in (("long", 0.58), ("bob", 0.86), ("up", 0.96), ("short", 1.0)) if cut < share)


def _nose_and_mouth(life: Life, skin: Field, makeup: bool, rng: np.random.Generator) -> tuple[Nose, Mouth]:
    adult, old, broad = life.adult, life.old, 1.0 if life.race is Race.BLACK else 0.0
    width = 0.17 + 0.035 * adult + 0.018 * life.male * life.mature + 0.018 * old + 0.035 * broad
    nose = Nose(width * (1 + _spread(rng, 0.05)), 0.44 + 0.14 * adult + 0.03 * old + _spread(rng, 0.012))
    fullness = (0.85 + 0.55 * life.female * life.mature + 0.35 * broad) * (1 - 0.50 * old)
    colour = skin * (
        np.array([0.90, 0.56, 0.58], np.float32) if life.female else np.array([0.86, 0.68, 0.66], np.float32)
    )
    if makeup:
        colour = colour * 0.5 + np.array([168, 44, 58], np.float32) * 0.5
    smile = max(-0.02, 0.05 + _spread(rng, 0.05))
    mouth = Mouth(
        v=0.82 + 0.19 * adult + 0.03 * old + _spread(rng, 0.015),
        width=0.33 + 0.09 * adult + _spread(rng, 0.02),
        lip=0.085 * fullness * (1 + _spread(rng, 0.1)),
        colour=colour,
        smile=smile,
        teeth=bool(rng.random() < 0.30) and smile > 0.03 and life.age > 3,
    )
    return nose, mouth


def _spread(rng: np.random.Generator, deviation: float) -> float:
    """A normal deviate, cut at two standard deviations so that nobody is a monster."""
    return float(np.clip(rng.normal(), -2, 2)) * deviation


def _pick(colours: tuple[Rgb, ...], rng: np.random.Generator) -> Field:
    return np.array(colours[int(rng.integers(len(colours)))], np.float32)
