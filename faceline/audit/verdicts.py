"""What an audit says of a profile, and from which p-values it follows.

A statement is tested by its conformal p-value (`faceline.learning.conformal`). Where both age and gender are stated
they are two chances of a false flag, so p-values are adjusted by Holm's method (Holm 1979,
https://www.jstor.org/stable/4615733): of m p-values the smallest is multiplied by m, the next by m - 1, and none falls
below one before it. A statement contradicts the picture where its adjusted p-value is at most the false-flag rate: of
profiles whose statements are true, no larger share is flagged on average, for whichever reason; of those of which one
is false, no larger share is flagged for the other.

Strength is -log10 of the smallest adjusted p-value: 2 is reached by one true profile in a hundred at most. No p-value
is below 1 / (n + 1) of n validation rows, so the strongest flags are equally strong; their scores order them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from faceline.errors import BundleError, SettingsError
from faceline.learning.card import Nonconformity, ScoreBand
from faceline.learning.conformal import lowest_p_value

CONTRADICTS = ("contradicts_both", "contradicts_age", "contradicts_gender")
TESTED = (*CONTRADICTS, "consistent")
CATEGORIES = {  # and what each says; the first three are the flagged ones
    "contradicts_both": "the picture contradicts the stated age and the stated gender",
    "contradicts_age": "the picture contradicts the stated age",
    "contradicts_gender": "the picture contradicts the stated gender",
    "consistent": "nothing is contradicted at this false-flag rate, which proves nothing",
    "no_face": "no face was found",
    "several_faces": "more than one face was found, so nobody knows whose the profile is",
    "poor_picture": "the face is too small, too blurred or too dark, as no picture was that the calibration knows",
    "unreadable": "there is no such picture, or it cannot be read",
    "bad_statement": "what is stated is no age or gender that can be tested, or nothing is",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a row; None where it was not tested.

    Attributes:
        row: from 1.
        category: one of CATEGORIES.
        detail: for people, where there is something to say.
        strength: -log10 of the smallest adjusted p-value.
        p_value: that p-value; further that of each statement, not adjusted.
        age_score: error of the stated age in half-widths of the interval.
        gender_score: 1 - the probability of the stated gender.
        age_predicted, age_low, age_high: years.
        gender_predicted: its name; and its probability.
        crop: the face as a JPEG, base64, of a flagged row.
    """

    row: int
    category: str
    detail: str = ""
    strength: float | None = None
    p_value: float | None = None
    age_p_value: float | None = None
    gender_p_value: float | None = None
    age_score: float | None = None
    gender_score: float | None = None
    age_predicted: float | None = None
    age_low: float | None = None
    age_high: float | None = None
    gender_predicted: str | None = None
    gender_probability: float | None = None
    crop: str | None = None

    @property
    def flagged(self) -> bool:
        """Whether the picture contradicts the profile."""
        return self.category in CONTRADICTS

    @property
    def order(self) -> tuple[float, ...]:
        """By which flagged rows are ordered, the strongest being the largest: equally strong ones by their scores."""
        return self.strength or 0.0, self.age_score or 0.0, self.gender_score or 0.0, -self.row


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values adjusted by Holm's method, at most 1."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for number, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - number) * p_values[name]))
        adjusted[name] = highest
    return adjusted


def category(adjusted: Mapping[str, float], rate: float) -> str:
    """What follows from adjusted p-values of age or gender or both at a false-flag rate."""
    contradicted = [name for name in adjusted if adjusted[name] <= rate]
    if not contradicted:
        return "consistent"
    return "contradicts_both" if len(contradicted) == 2 else f"contradicts_{contradicted[0]}"


def strength(adjusted: Mapping[str, float]) -> float:
    """-log10 of the smallest adjusted p-value."""
    return 0.0 - math.log10(min(adjusted.values()))  # not -0.0


def require_calibration(found: Nonconformity | None, stated: tuple[str, ...], rate: float, bundle: str) -> list[str]:
    """Refuse an audit that could flag nothing; else say for which bands of ages it cannot at this rate.

    Args:
        found: of the bundle's card.
        stated: the statements that the table has, age or gender or both.
        rate: of false flags.
        bundle: what errors call it.

    Raises:
        BundleError: the card has no calibration for a statement.
        SettingsError: the calibration has too few rows for the rate.
    """
    bands: dict[str, tuple[ScoreBand, ...]] = {}
    for name in stated:
        of_name = None if found is None else getattr(found, name)
        if of_name is None:
            told = f"{bundle} has no calibration of {name} in its card (`nonconformity`), which an audit needs"
            raise BundleError(f"{told}; train it anew, or leave the column {name} out")
        bands[name] = of_name
    lowest = {name: [len(stated) * lowest_p_value(band) for band in of_name] for name, of_name in bands.items()}
    best = min(map(min, lowest.values()))
    if best > rate:
        told = f"{bundle} was calibrated on too few pictures for a false-flag rate of {rate:g}"
        raise SettingsError(f"{told}; allowed with {' and '.join(stated)}: {math.ceil(best * 1e4) / 1e4:g} or more")
    return [
        f"no {name} can be flagged at this rate where the {'stated' if name == 'age' else 'predicted'} age is "
        f"{_years(bands[name], number)}{_unless(value / len(stated) <= rate)}: only {bands[name][number].rows} "
        "pictures to calibrate with"
        for name in stated
        for number, value in enumerate(lowest[name])
        if value > rate
    ]


def _unless(alone: bool) -> str:
    """What Holm's procedure leaves where a statement is rare enough `alone`, but not as the rarer one of two."""
    return ", unless the row states nothing else or both are contradicted" if alone else ""


def _years(bands: tuple[ScoreBand, ...], number: int) -> str:
    """The ages of a band."""
    first = bands[number].youngest
    return f"{first} or more" if number + 1 == len(bands) else f"{first} to {bands[number + 1].youngest - 1}"
