"""The faults that IMDB-WIKI really has, and what must become of each: rejected at one stage for one reason, or kept.

Every fault spoils good rows of people aged 20 to 60, so that exactly one rule catches it. There is a known number of
each: a share of the ordinary faces, two at the least.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from faceline.datasets.labels import Gender
from faceline.datasets.sample.encoding import MISSING
from faceline.datasets.sample.picture import Sitter
from faceline.datasets.sample.population import Override, Row, again, person
from faceline.datasets.sample.settings import SampleSettings

AGES = (20, 60)  # years, of those whose rows are spoilt
FEWEST = 2
TWIN = 100  # added to a page id for a second page with the same picture: same folder, sorted behind the first

Spoil = Callable[[Row, int], list[Row]]  # a good row and the number of the case → the rows of the fault


@dataclass(frozen=True)
class Fault:
    """One kind of fault; `share` is its number of cases for each ordinary face."""

    name: str
    stage: str  # that rejects it; empty: it is kept, and must be read rightly
    reason: str
    share: float
    spoil: Spoil
    spares_first: bool = False  # the first row of each case is kept

    def cases(self, faces: int) -> int:
        """How many cases there are beside that many ordinary faces."""
        return max(FEWEST, round(self.share * faces))

    def rows(self, good: Row, case: int) -> list[Row]:
        """The rows of one case, marked with what must become of them."""
        rows = [replace(row, fault=self.name, stage=self.stage, reason=self.reason) for row in self.spoil(good, case)]
        if self.spares_first:
            rows[0] = replace(rows[0], stage="", reason="")
        return rows


def faulty(settings: SampleSettings) -> list[Row]:
    """Every faulty row of the sample."""
    rows: list[Row] = []
    number = settings.faces  # there are never more ordinary subjects, so these are other people
    for fault in FAULTS:
        for case in range(fault.cases(settings.faces)):
            rows += fault.rows(person(number, AGES, settings), case)
            number += 1
    return rows


def _filed(form: str) -> Spoil:
    return lambda row, case: [replace(row, form=form)]


def _year_zero(row: Row, case: int) -> list[Row]:
    return [replace(row, born=None)]


def _no_face_scored(row: Row, case: int) -> list[Row]:
    return [replace(row, shot=replace(row.shot, sitters=()), face_score=-math.inf)]


def _second_face_scored(row: Row, case: int) -> list[Row]:
    return [replace(spoilt, second_face_score=round(row.face_score * 0.8, 4)) for spoilt in _two_faces(row, case)]


def _low_score(row: Row, case: int) -> list[Row]:
    return [replace(row, face_score=round(row.face_score / 7, 4))]  # ordinary scores lie below 6.5


def _gender_unknown(row: Row, case: int) -> list[Row]:
    return [replace(row, gender=None)]


def _taken_before_birth(row: Row, case: int) -> list[Row]:
    return [row.born_earlier(-row.age - 1 - case % 30)]


def _too_old(row: Row, case: int) -> list[Row]:
    return [row.born_earlier(101 - row.age + case % 40)]


def _too_young(row: Row, case: int) -> list[Row]:
    return [again(row, row.taken - row.age + 1 + case % 8)]


def _copied(row: Row, case: int) -> list[Row]:
    return [row, replace(row, page_id=row.page_id + TWIN)]


def _copied_contradicting(row: Row, case: int) -> list[Row]:
    return [row, replace(row, page_id=row.page_id + TWIN).born_earlier(9 + case % 10)]


def _near_copied(row: Row, case: int) -> list[Row]:
    return [row, replace(row, page_id=row.page_id + TWIN, form=("reencoded", "brightened")[case % 2])]


def _near_copied_contradicting(row: Row, case: int) -> list[Row]:
    first, second = _near_copied(row, case)
    return [first, second.born_earlier(9 + case % 10)]


def _override_rejected(row: Row, case: int) -> list[Row]:
    return [replace(row, override=Override("reject", "the picture shows somebody else"))]


def _override_set(row: Row, case: int) -> list[Row]:
    """By turns a wrong gender, and an age that a rule would reject if the override came too late."""
    if case % 2:
        return [replace(row.born_earlier(100), override=Override("set", "born a century later", age=row.age))]
    wrong = Gender.MALE if row.gender is Gender.FEMALE else Gender.FEMALE
    return [replace(row, gender=wrong, override=Override("set", "gender was the other", gender=row.gender))]


def _no_face(row: Row, case: int) -> list[Row]:
    return [replace(row, shot=replace(row.shot, sitters=()))]


def _two_faces(row: Row, case: int) -> list[Row]:
    (sitter,) = row.shot.sitters
    seed, page_id = sitter.identity
    companion = Sitter((seed, page_id + 1), sitter.age, Gender(1 - sitter.gender), sitter.race)
    return [replace(row, shot=replace(row.shot, sitters=(sitter, companion)))]


def _blurred(row: Row, case: int) -> list[Row]:
    return [replace(row, shot=replace(row.shot, blurred=True))]


FAULTS = (
    Fault("year_zero", "ingest", "invalid_dob", 0.006, _year_zero),
    Fault("missing_file", "ingest", "missing_file", 0.006, _filed(MISSING)),
    Fault("empty_file", "ingest", "empty_file", 0.004, _filed("empty")),
    Fault("truncated_jpeg", "ingest", "truncated_picture", 0.006, _filed("truncated")),
    Fault("html", "ingest", "not_a_picture", 0.004, _filed("html")),
    Fault("one_pixel", "ingest", "too_small", 0.004, _filed("one_pixel")),
    Fault("no_face_scored", "clean", "no_face_score", 0.03, _no_face_scored),
    Fault("second_face_scored", "clean", "second_face", 0.02, _second_face_scored),
    Fault("low_score", "clean", "low_face_score", 0.01, _low_score),
    Fault("gender_unknown", "clean", "gender_unknown", 0.01, _gender_unknown),
    Fault("taken_before_birth", "clean", "taken_before_birth", 0.01, _taken_before_birth),
    Fault("too_old", "clean", "age_above_maximum", 0.01, _too_old),
    Fault("too_young", "clean", "age_below_minimum", 0.024, _too_young),
    Fault("copied", "clean", "duplicate", 0.008, _copied, spares_first=True),
    Fault("copied_contradicting", "clean", "contradicting_duplicate", 0.006, _copied_contradicting),
    Fault("override_rejected", "clean", "overridden", 0.003, _override_rejected),
    Fault("no_face", "crop", "no_face", 0.005, _no_face),
    Fault("two_faces", "crop", "several_faces", 0.005, _two_faces),
    Fault("blurred", "crop", "blurred", 0.005, _blurred),
    Fault("grey", "", "", 0.008, _filed("grey")),
    Fault("cmyk", "", "", 0.004, _filed("cmyk")),
    Fault("sixteen_bit", "", "", 0.004, _filed("deep")),
    Fault("turned", "", "", 0.006, _filed("turned")),
    Fault("override_set", "", "", 0.004, _override_set),
    Fault("near_copied", "", "", 0.008, _near_copied),
    Fault("near_copied_contradicting", "", "", 0.004, _near_copied_contradicting),
)
