"""The rules that decide which labelled pictures are kept; each names the rows that it rejects and why.

A rule that a dataset does not set is not applied. A rule on a field that the source lacks (all null) is reported as
skipped, never passed in silence. A row bears the reason of the first rule that rejects it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from faceline.datasets.duplicates import NearIdenticalSettings, Pairs
from faceline.datasets.labels import OLDEST, TARGETS
from faceline.params import Settings

Age = Annotated[int, Field(ge=0, le=OLDEST)]
Target = Literal["age", "gender", "race"]


class AgeRange(Settings):
    """Ages in years, both ends kept."""

    minimum: Age
    maximum: Age

    @model_validator(mode="after")
    def _upright(self) -> "AgeRange":
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}; allowed: minimum <= maximum")
        return self


class FaceScore(Settings):
    """Bound on the score that the source's own detector gave."""

    above: float


class Thinning(AgeRange):
    """An age range of which only a fraction is kept, chosen by a hash of the picture."""

    keep: Annotated[float, Field(gt=0, lt=1)]


class NearIdenticalRule(NearIdenticalSettings):
    """What happens to near-identical pictures whose labels contradict."""

    age_tolerance: Annotated[int, Field(ge=0)]  # years by which their ages may differ
    contradicting: Literal["report", "reject"]


class CleanSettings(Settings):
    """The cleaning rules of a dataset, in the order in which they are applied."""

    require: tuple[Target, ...] = ()  # labels that must be known
    age: AgeRange | None = None
    face_score: FaceScore | None = None
    second_face: Literal["reject", "keep"] = "keep"
    near_identical: NearIdenticalRule
    thin: Thinning | None = None
    max_rows: Annotated[int, Field(ge=1)] | None = None  # chosen by a hash of the picture


@dataclass
class Verdict:
    """What has been decided so far about the rows of a table of labels.

    Attributes:
        rows: tables.LABELS as a data frame with a plain index.
        reason, detail: null where a row is still kept.
        skipped: rules that could not be applied, each with the field that the source lacks.
    """

    rows: pd.DataFrame
    reason: pd.Series = field(init=False)
    detail: pd.Series = field(init=False)
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start with every row kept."""
        self.reason = pd.Series(None, index=self.rows.index, dtype="object")
        self.detail = pd.Series(None, index=self.rows.index, dtype="object")

    @property
    def kept(self) -> pd.Series:
        """True where a row is still kept."""
        return self.reason.isna()

    def lacks(self, rule: str, column: str) -> bool:
        """True, and reported as skipped, if the source does not give `column` at all."""
        if self.rows[column].notna().any():
            return False
        self.skipped[rule] = column
        return True

    def reject(self, mask: "pd.Series[bool]", reason: str, detail: str | Callable[[pd.DataFrame], pd.Series]) -> None:
        """Reject the still kept rows under `mask`; `detail` is the text of all, or gives each its text from its row."""
        mask = mask.fillna(value=False).astype(bool) & self.kept
        if mask.any():
            self.reason[mask] = reason
            self.detail[mask] = detail if isinstance(detail, str) else detail(self.rows[mask])


def apply_overrides(rows: pd.DataFrame, overrides: pd.DataFrame) -> pd.DataFrame:
    """`rows` with the labels that overrides of action `set` give, joined by path."""
    changes = overrides[overrides["action"] == "set"].set_index("path")
    rows = rows.copy()
    where = rows["path"].isin(changes.index)
    for target in TARGETS:
        new = rows.loc[where, "path"].map(changes[target])
        rows.loc[new.dropna().index, target] = new.dropna().astype(rows[target].dtype)
    return rows


def judge_labels(rows: pd.DataFrame, overrides: pd.DataFrame, settings: CleanSettings) -> Verdict:
    """Apply every rule that looks at one row, and those on byte-identical pictures."""
    verdict = Verdict(rows)
    notes = overrides[overrides["action"] == "reject"].set_index("path")["note"]
    verdict.reject(
        rows["path"].isin(notes.index),
        "overridden",
        lambda bad: bad["path"].map(notes).fillna("in the table of overrides"),
    )
    contradicting_duplicates(verdict)
    for target in settings.require:
        if not verdict.lacks(f"require.{target}", target):
            verdict.reject(rows[target].isna(), f"{target}_unknown", f"no {target} is given")
    if settings.age and not verdict.lacks("age", "age"):
        _age_range(verdict, settings.age)
    if settings.face_score and not verdict.lacks("face_score", "face_score"):
        _face_score(verdict, settings.face_score.above)
    if settings.second_face == "reject" and not verdict.lacks("second_face", "second_face_score"):
        verdict.reject(
            rows["second_face_score"].notna(),
            "second_face",
            lambda bad: "second face scored " + bad["second_face_score"].map("{:.3g}".format),
        )
    repeated = verdict.kept & rows.loc[verdict.kept].duplicated("image_id").reindex(rows.index, fill_value=False)
    first = rows[verdict.kept & ~repeated].set_index("image_id")["path"]
    verdict.reject(repeated, "duplicate", lambda bad: "the same bytes as " + bad["image_id"].map(first))
    return verdict


def contradicting_duplicates(verdict: Verdict) -> None:
    """Reject every copy of a byte-identical picture whose known labels contradict."""
    values = verdict.rows[verdict.kept].groupby("image_id")[list(TARGETS)].nunique()
    wrong = values[(values > 1).any(axis=1)]
    named = (
        (wrong > 1).apply(lambda row: ", ".join(row.index[row]), axis=1) if len(wrong) else pd.Series(dtype="object")
    )
    mask = verdict.rows["image_id"].isin(wrong.index)
    verdict.reject(
        mask,
        "contradicting_duplicate",
        lambda bad: "copies of the same bytes disagree about " + bad["image_id"].map(named),
    )


def near_identical_contradictions(rows: pd.DataFrame, pairs: Pairs, age_tolerance: int) -> np.ndarray:
    """True for each pair whose known labels contradict (ages by more than the tolerance, in years); (pairs,) bool."""
    first, second = (rows.iloc[index].reset_index(drop=True) for index in (pairs.first, pairs.second))
    wrong = (first["age"] - second["age"]).abs().gt(age_tolerance).fillna(value=False)
    for target in ("gender", "race"):
        wrong |= first[target].ne(second[target]).fillna(value=False) & first[target].notna() & second[target].notna()
    return wrong.to_numpy(dtype=bool)


def limit(verdict: Verdict, settings: CleanSettings) -> None:
    """Thin an age range and cap the rows, choosing by a hash of image_id so that the choice is stable."""
    thin, rows = settings.thin, verdict.rows
    if thin and not verdict.lacks("thin", "age"):
        inside = rows["age"].between(thin.minimum, thin.maximum) & (_lot(rows["image_id"], "thin") >= thin.keep)
        verdict.reject(
            inside,
            "thinned",
            f"ages {thin.minimum}-{thin.maximum} are thinned to {thin.keep:g}",
        )
    if settings.max_rows and verdict.kept.sum() > settings.max_rows:
        lots = _lot(rows.loc[verdict.kept, "image_id"], "max_rows").sort_values(kind="stable")
        over = rows.index.isin(lots.index[settings.max_rows :])
        verdict.reject(
            pd.Series(over, rows.index),
            "over_max_rows",
            f"at most {settings.max_rows} rows are kept",
        )


def _age_range(verdict: Verdict, bounds: AgeRange) -> None:
    age = verdict.rows["age"]
    verdict.reject(age.isna(), "age_unknown", "no age is given")
    verdict.reject(age < 0, "taken_before_birth", lambda bad: "age " + bad["age"].astype(str))
    verdict.reject(
        age < bounds.minimum,
        "age_below_minimum",
        lambda bad: "age " + bad["age"].astype(str) + f"; at least {bounds.minimum} is kept",
    )
    verdict.reject(
        age > bounds.maximum,
        "age_above_maximum",
        lambda bad: "age " + bad["age"].astype(str) + f"; at most {bounds.maximum} is kept",
    )


def _face_score(verdict: Verdict, above: float) -> None:
    score, source = verdict.rows["face_score"], verdict.rows["path"].str.partition("/")[0]
    scored = score.notna().groupby(source).transform("any")
    verdict.skipped |= dict.fromkeys((f"face_score in {name}" for name in source[~scored].unique()), "face_score")
    verdict.reject(
        scored & (score.isna() | score.isin([np.inf, -np.inf])),
        "no_face_score",
        lambda bad: "face_score " + bad["face_score"].astype(str),
    )
    verdict.reject(
        score <= above,
        "low_face_score",
        lambda bad: "face_score " + bad["face_score"].map("{:.3g}".format) + f"; above {above:g} is kept",
    )


def _lot(image_ids: "pd.Series[str]", purpose: str) -> "pd.Series[float]":
    """A number from 0 to 1 drawn for each picture by its hash, another for another purpose."""
    return image_ids.map(
        lambda image_id: int(hashlib.sha256(f"{purpose}:{image_id}".encode()).hexdigest()[:13], 16) / 16**13
    )
