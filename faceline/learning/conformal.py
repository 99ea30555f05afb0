"""Conformal p-values: how strange a stated age or gender is, beside the true labels of the validation subset.

Split conformal prediction, read as a test of one label (Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a
Random World", section 2.2; Angelopoulos and Bates 2021, https://arxiv.org/abs/2107.07511; for testing many rows Bates
et al. 2021, https://arxiv.org/abs/2104.08279). A score says how badly a label fits an answer; of n scores of true
labels, r are as high as that of a statement or higher: p = (r + 1) / (n + 1). If the statement is true and its picture
is one like those of validation, p is at most a with a probability of at most a, for every a.

Errors differ hugely by age (up to 8 years a third of genders is answered wrongly), so that a rate that holds over
everybody would be exceeded for children. Scores are therefore compared within a band of ages (Mondrian, or
label-conditional, conformal prediction: Vovk 2012, https://arxiv.org/abs/1209.2673), and the rate holds in each band.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from faceline.datasets.labels import Gender
from faceline.learning.card import Nonconformity, ScoreBand

if TYPE_CHECKING:  # it imports TensorFlow, which no p-value needs
    from faceline.learning.answering import Answers

Floats = npt.NDArray[np.float64]
BANDS = (0, 9, 20, 30, 40, 50, 60, 70, 80)  # first years of age bands, before those of few rows are joined
# Rows that a band must have: then one of two statements can still be found false at a rate of .01, 2 / (n + 1).
BAND_ROWS = 199
EXACT = 64  # so many of the highest scores are kept; of lower ones those whose rank is higher by STEP
STEP = 1.05  # a p-value is too high by this factor at most, never too low
NARROWEST = 1e-3  # years; half an interval that is narrower, as only a toy's is, would divide by next to nothing


def age_scores(answers: "Answers", ages: npt.NDArray[np.number]) -> Floats:
    """How badly ages (n,), years, fit the answers: the error in half-widths of the age interval, (n,).

    Half-widths are proportional to `answering.difficulties`, so errors count by how hard the picture is.
    """
    predicted, high = (np.asarray(values, np.float64) for values in (answers.age, answers.age_high))
    return np.asarray(np.abs(ages - predicted) / np.maximum(high - predicted, NARROWEST))


def gender_scores(answers: "Answers", genders: npt.NDArray[np.integer]) -> Floats:
    """How badly gender codes (n,) fit the answers: 1 minus their calibrated probability, (n,)."""
    female = np.asarray(answers.female_probability, np.float64)
    return np.where(np.asarray(genders) == Gender.FEMALE, 1 - female, female)


def nonconformity(answers: "Answers", ages: npt.NDArray[np.integer], genders: npt.NDArray[np.integer]) -> Nonconformity:
    """The scores of true labels, years and codes (n,), -1 where there is none; None for what is not answered.

    Of gender the bands are those of the answered age, since it is known of every picture and true whatever is stated.
    Where no age is answered there is one band.
    """
    found: dict[str, tuple[ScoreBand, ...]] = {}
    known = ages >= 0
    if answers.age is not None and known.any():
        found["age"] = score_bands(age_scores(answers, ages)[known], ages[known])
    known = genders >= 0
    if answers.female_probability is not None and known.any():
        found["gender"] = score_bands(gender_scores(answers, genders)[known], gender_ages(answers)[known])
    return Nonconformity(**found)


def gender_ages(answers: "Answers") -> Floats:
    """The ages (n,) by which the scores of gender fall into bands: those answered; 0 where none is."""
    if answers.age is None:
        return np.zeros(len(np.asarray(answers.female_probability)))
    return np.asarray(answers.age, np.float64)


def score_bands(scores: npt.NDArray[np.floating], ages: npt.NDArray[np.number]) -> tuple[ScoreBand, ...]:
    """The scores (n,) of n > 0 true labels, in bands of `ages` (n,) with BAND_ROWS rows or more, or in one band."""
    starts = _starts(ages)
    which = np.searchsorted(starts, ages, side="right") - 1
    return tuple(_band(start, scores[which == band]) for band, start in enumerate(starts))


def p_values(
    bands: tuple[ScoreBand, ...], scores: npt.NDArray[np.floating], ages: npt.NDArray[np.number]
) -> npt.NDArray[np.float64]:
    """The p-value (n,) of each of the scores (n,) within the band of its age (n,)."""
    which = np.searchsorted([band.youngest for band in bands], ages, side="right") - 1
    found = np.ones(len(scores))
    for number, band in enumerate(bands):
        inside = which == number
        found[inside] = (_as_high(band, scores[inside]) + 1) / (band.rows + 1)
    return found


def lowest_p_value(band: ScoreBand) -> float:
    """The p-value of a score above all that the band has."""
    return 1 / (band.rows + 1)


def _as_high(band: ScoreBand, scores: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """How many of the band's scores are as high as each of `scores`, (n,); at most STEP times too many."""
    kept, ranks = np.asarray(band.scores)[::-1], np.asarray(band.ranks)[::-1]
    below = np.searchsorted(kept, scores, side="right") - 1  # the highest kept score that is not above; -1: none
    above = np.minimum(below + 1, len(kept) - 1)
    # A score above a kept one is reached by fewer than that is; where none is left out in between, by as many as the
    # next one, whatever equals the lower; one above the highest, which is kept, by none.
    between = np.where(ranks[above] < EXACT, ranks[above], ranks[below] - 1)
    found = np.where(below < 0, band.rows, np.where(scores > kept[below], between, ranks[below]))
    return np.where(scores > kept[-1], 0, found)


def _starts(ages: npt.NDArray[np.number]) -> list[int]:
    """The first years of bands of BAND_ROWS rows: the smallest joins its smaller neighbour until all are so large."""
    starts = list(BANDS)
    while len(starts) > 1:
        rows = np.histogram(ages, [*starts, math.inf])[0]
        smallest = int(rows.argmin())
        if rows[smallest] >= BAND_ROWS:
            break
        older = smallest + 1
        joins_older = smallest == 0 or (older < len(rows) and rows[older] < rows[smallest - 1])
        starts.pop(older if joins_older else smallest)
    return starts


def _band(youngest: int, scores: npt.NDArray[np.floating]) -> ScoreBand:
    falling = np.sort(scores)[::-1]
    ranks, rank = list[int](), 1
    while rank <= len(falling):
        ranks.append(rank)
        rank = rank + 1 if rank < EXACT else math.ceil(rank * STEP)
    kept = np.unique(falling[np.array(ranks) - 1])[::-1]
    as_high = len(falling) - np.searchsorted(falling[::-1], kept, side="left")
    return ScoreBand(youngest=youngest, rows=len(falling), scores=tuple(kept.tolist()), ranks=tuple(as_high.tolist()))
