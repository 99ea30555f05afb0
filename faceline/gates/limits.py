"""Thresholds that several gates share: ranges, and what the labels of a table should look like as a whole."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from faceline.datasets.labels import GENDERS, RACES, Gender
from faceline.params import Settings

Share = Annotated[float, Field(ge=0, le=1)]
Rows = Annotated[int, Field(ge=1)]  # an empty table never passes
Label = Literal["male", "female", "white", "black", "asian", "indian", "other"]


class Range(Settings):
    """From minimum to maximum, both allowed."""

    minimum: float
    maximum: float

    @model_validator(mode="after")
    def _upright(self) -> "Range":
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}; allowed: minimum <= maximum")
        return self


class LabelLimits(Settings):
    """What a table's labels should look like as a whole; a target that is not named may be anything, or missing."""

    known: dict[Literal["age", "gender", "race"], Share]  # least share of rows whose label is known
    shares: dict[Label, Range]  # of the rows whose gender, or race, is known
    age_mean: Range | None  # years; null where the dataset has no ages

    @model_validator(mode="after")
    def _possible(self) -> "LabelLimits":
        for label, share in self.shares.items():
            if share.minimum < 0 or share.maximum > 1:
                raise ValueError(f"shares.{label} is {share.minimum:g} to {share.maximum:g}; allowed: within 0 to 1")
        return self


def code(label: Label) -> tuple[str, int]:
    """The column that holds a label, and its code there."""
    if label in GENDERS:
        return "gender", Gender[label.upper()].value
    return "race", RACES.index(label)
