"""The label codes used everywhere inside the project; readers translate a source's own codes to these.

Gender and race are labels as the datasets have them, judged by appearance; they say nothing about a person's identity.
The codes are UTKFace's (IMDB-WIKI has gender the other way round).
"""

from enum import IntEnum


class Gender(IntEnum):
    """Gender codes, as UTKFace."""

    MALE = 0
    FEMALE = 1


class Race(IntEnum):
    """Race codes, as UTKFace."""

    WHITE = 0
    BLACK = 1
    ASIAN = 2
    INDIAN = 3
    OTHER = 4


TARGETS = ("age", "gender", "race")
GENDERS = tuple(gender.name.lower() for gender in Gender)
RACES = tuple(race.name.lower() for race in Race)
OLDEST = 116  # years; the highest age that UTKFace labels, and so the last of the one-year bins
AGE_BINS = OLDEST + 1  # bins of one year: 0, 1, … 116
