"""The people of the sample and their ordinary rows: right labels, one clear face, nothing that a rule would catch.

A row holds what WIKI records of a picture; the picture itself is a `Shot`, taken only when it is written.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from faceline.datasets.labels import Gender, Race
from faceline.datasets.sample.picture import Shot, Sitter
from faceline.datasets.sample.settings import SampleSettings

YOUNGEST, ELDEST = 9, 99  # years; ordinary ages lie between the bounds that cleaning sets by default
FIRST_PAGE, PAGE_STEP = 1_000_000, 97  # page ids; the step spreads them over the folders named by their last two digits
NAMELESS = 20  # one subject of so many has no name, as in WIKI
PICTURES = (1, 1, 2, 1, 3, 1, 2)  # of one subject after another; as many entries as share no factor with 2 and 5
GIVEN_NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gia", "Hal", "Ida", "Jon")


@dataclass(frozen=True)
class Override:
    """What the table of overrides says of a known wrong row; a label that it leaves alone is None."""

    action: str  # reject or set
    note: str
    age: int | None = None
    gender: Gender | None = None


@dataclass(frozen=True)
class Row:
    """A row of wiki.mat with the picture behind it, and what must become of it if it is a faulty one."""

    page_id: int
    name: str
    born: date | None  # None: the year 0 of a date that nobody knew
    taken: int  # year
    gender: Gender | None
    race: Race
    shot: Shot
    face_score: float
    second_face_score: float = math.nan
    form: str = "jpeg"  # how the picture is filed: a key of encoding.FORMS, or encoding.MISSING
    override: Override | None = None
    fault: str = ""  # empty: an ordinary row
    stage: str = ""  # that must reject it; empty: it is kept
    reason: str = ""

    @property
    def path(self) -> str:
        """As WIKI names its pictures: last two digits of the page id / page id, date of birth, year taken."""
        born = self.born.isoformat() if self.born else "0000-00-00"
        return f"{self.page_id % 100:02d}/{self.page_id}_{born}_{self.taken}.jpg"

    @property
    def age(self) -> int:
        """Years on 1 July of the year taken; a row without a date of birth has none (ValueError)."""
        if self.born is None:
            raise ValueError(f"{self.path} has no date of birth")
        return age_at(self.born, self.taken)

    def born_earlier(self, years: int) -> "Row":
        """The same row with another date of birth, so `years` older."""
        return replace(self, born=self.born and self.born.replace(year=self.born.year - years))


def ordinary(settings: SampleSettings) -> list[Row]:
    """`settings.faces` ordinary rows, genders and races in equal parts, ages spread evenly."""
    rows: list[Row] = []
    for number, pictures in enumerate(_pictures(settings.faces)):
        rows += _subject(number, pictures, settings)
    return rows


def person(number: int, ages: tuple[int, int], settings: SampleSettings) -> Row:
    """A row of the subject with that number, at an age between the two of `ages` (years, both included)."""
    page_id = FIRST_PAGE + PAGE_STEP * number
    rng = np.random.default_rng([settings.seed, page_id])
    age, taken = int(rng.integers(ages[0], ages[1] + 1)), int(rng.integers(1965, 2005))
    month, day = int(rng.integers(1, 13)), int(rng.integers(2, 29))  # never 1 July itself, which could be read two ways
    born = date(taken - age - (month >= 7), month, day)
    gender, race = Gender(number % 2), Race(number // 2 % 5)
    sitter = Sitter((settings.seed, page_id), age, gender, race)
    return Row(
        page_id=page_id,
        name="" if number % NAMELESS == NAMELESS - 1 else f"{GIVEN_NAMES[number % 10]} Sample {number}",
        born=born,
        taken=taken,
        gender=gender,
        race=race,
        shot=Shot((settings.seed, page_id, taken), settings.size, (sitter,)),
        face_score=round(float(rng.uniform(1.5, 6.5)), 4),
    )


def again(row: Row, taken: int) -> Row:
    """The subject of `row` once more, in another year: other age, pose, light and background."""
    later = replace(row, taken=taken)
    (sitter,) = row.shot.sitters
    shot = replace(row.shot, scene=(*row.shot.scene[:-1], taken), sitters=(replace(sitter, age=later.age),))
    return replace(later, shot=shot)


def age_at(born: date, year: int) -> int:
    """Years on 1 July of `year`."""
    return year - born.year - ((born.month, born.day) > (7, 1))


def _pictures(faces: int) -> Iterator[int]:
    """How many pictures there are of one subject after another, `faces` in all."""
    number = 0
    while faces > 0:
        count = min(PICTURES[number % len(PICTURES)], faces)
        yield count
        faces -= count
        number += 1


def _subject(number: int, pictures: int, settings: SampleSettings) -> list[Row]:
    """The rows of one subject, some years apart."""
    first = person(number, (YOUNGEST, ELDEST), settings)
    years = np.random.default_rng([settings.seed, first.page_id, 1]).permutation(np.arange(1, 13))
    forward = first.age <= (YOUNGEST + ELDEST) // 2  # so that nobody leaves the ordinary ages
    later = [first.taken + int(year) * (1 if forward else -1) for year in years[: pictures - 1]]
    return [first, *(again(first, taken) for taken in later)]
