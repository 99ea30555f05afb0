"""The small tables behind DVC's plots: bounded in rows and rounded, because they are kept in git.

Each function takes the judged rows and returns one table, empty where the target is not judged; the names of the
columns are the ones in dvc.yaml under `plots`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from faceline.datasets.labels import GENDERS, RACES, Gender
from faceline.evaluation.judged import Floats, Judged
from faceline.evaluation.reliability import reliability

PER_LABEL = 100  # rows a label in a confusion table, so that its counts read as percent
ROC_POINTS = 200
SCATTER_POINTS = 300
ERROR_LIMIT = 40  # years; larger errors are counted in the outermost bin
ERROR_STEP = 2  # years a bin
CS_YEARS = 20
QUANTILES = np.linspace(0, 1, 21)


def confusion_gender(judged: Judged) -> pd.DataFrame:
    """Columns actual, predicted: 100 rows for each gender in the labels, in proportion to its answers."""
    return _confusion(judged, "gender", GENDERS)


def confusion_race(judged: Judged) -> pd.DataFrame:
    """Columns actual, predicted: 100 rows for each race in the labels, in proportion to its answers."""
    return _confusion(judged, "race", RACES)


def roc(judged: Judged) -> pd.DataFrame:
    """Columns fpr, tpr: the ROC curve of "female"; empty unless both genders are in the labels."""
    points = roc_points(judged)
    chosen = np.unique(np.linspace(0, len(points) - 1, min(ROC_POINTS, len(points))).round().astype(int))
    return pd.DataFrame(points[chosen], columns=["fpr", "tpr"]).round(4)


def roc_points(judged: Judged) -> Floats:
    """False and true positive rates of "female" at every threshold, shape (points, 2)."""
    known = ~np.isnan(judged.gender) & ~np.isnan(judged.female_probability)
    label = judged.gender[known]
    if len(np.unique(label)) < len(Gender):
        return np.empty((0, 2))
    fpr, tpr, _ = roc_curve(label, judged.female_probability[known], pos_label=float(Gender.FEMALE))
    return np.column_stack([fpr, tpr])


def age_predicted_true(judged: Judged) -> pd.DataFrame:
    """Columns age, predicted: at most 300 rows, the first by image_id: a hash, so a fair sample."""
    table = pd.DataFrame({"age": judged.age, "predicted": judged.age_predicted, "image_id": judged.image_id}).dropna()
    sample = table.sort_values("image_id")[["age", "predicted"]].head(SCATTER_POINTS).round(2)
    return sample.sort_values(["age", "predicted"], ignore_index=True).astype({"age": int})


def age_errors(judged: Judged) -> pd.DataFrame:
    """Columns error (years, the middle of a bin; positive: taken to be older), share (of rows)."""
    age, predicted = judged.pair("age")
    if not len(age):
        return pd.DataFrame({"error": [], "share": []})
    edges = np.arange(-ERROR_LIMIT, ERROR_LIMIT + ERROR_STEP, ERROR_STEP)
    counts, _ = np.histogram(np.clip(predicted - age, edges[0], edges[-1]), bins=edges)
    return pd.DataFrame({"error": edges[:-1] + ERROR_STEP // 2, "share": (counts / len(age)).round(4)})


def quantiles(judged: Judged) -> pd.DataFrame:
    """Columns quantile (0 to 1), error (years, absolute)."""
    age, predicted = judged.pair("age")
    if not len(age):
        return pd.DataFrame({"quantile": [], "error": []})
    error = np.quantile(np.abs(predicted - age), QUANTILES)
    return pd.DataFrame({"quantile": QUANTILES.round(2), "error": error.round(3)})


def cs(judged: Judged) -> pd.DataFrame:
    """Columns years (0 to 20), share: of ages predicted within so many years, the cumulative score."""
    if not len(judged.pair("age")[0]):
        return pd.DataFrame({"years": [], "share": []})
    years = np.arange(CS_YEARS + 1)
    return pd.DataFrame({"years": years, "share": cumulative_score(judged, years).round(4)})


def cumulative_score(judged: Judged, years: NDArray[np.integer]) -> Floats:
    """The share of ages predicted within each of `years` (n,), where any is."""
    age, predicted = judged.pair("age")
    error = np.sort(np.abs(predicted - age))
    return np.searchsorted(error, years, side="right") / len(error)


def reliability_gender(judged: Judged) -> pd.DataFrame:
    """Columns confidence, accuracy, rows: answers by the probability that they were given."""
    return _reliability(judged, "gender")


def reliability_race(judged: Judged) -> pd.DataFrame:
    """Columns confidence, accuracy, rows: answers by the probability that they were given."""
    return _reliability(judged, "race")


PLOTS: dict[str, Callable[[Judged], pd.DataFrame]] = {
    "confusion_gender": confusion_gender,
    "confusion_race": confusion_race,
    "roc": roc,
    "age_predicted_true": age_predicted_true,
    "age_errors": age_errors,
    "quantiles": quantiles,
    "cs": cs,
    "reliability_gender": reliability_gender,
    "reliability_race": reliability_race,
}


def confusion_counts(judged: Judged, target: str, codes: int) -> NDArray[np.int64]:
    """Rows by label (first axis) and answer (second), shape (codes, codes)."""
    label, answer = judged.pair(target)
    counts = np.zeros((codes, codes), dtype=np.int64)
    np.add.at(counts, (label.astype(int), answer.astype(int)), 1)
    return counts


def _reliability(judged: Judged, target: str) -> pd.DataFrame:
    found = reliability(*judged.probabilities(target))
    table = {"confidence": found.confidence.round(4), "accuracy": found.accuracy.round(4), "rows": found.rows}
    return pd.DataFrame(table)


def _confusion(judged: Judged, target: str, names: Sequence[str]) -> pd.DataFrame:
    """DVC's template counts rows, so the shares of each label are written as rows, 100 in all."""
    rows: list[tuple[str, str]] = []
    for actual, counts in zip(names, confusion_counts(judged, target, len(names)), strict=True):
        for predicted, repeats in zip(names, _percent(counts), strict=True):
            rows += [(actual, predicted)] * int(repeats)
    return pd.DataFrame(rows, columns=["actual", "predicted"])


def _percent(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """`counts` scaled to add up to 100 by the method of the largest remainder; zeros stay zeros."""
    if not counts.sum():
        return counts
    exact = counts * PER_LABEL / counts.sum()
    whole: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    largest = np.argsort(whole - exact, kind="stable")[: PER_LABEL - whole.sum()]
    whole[largest] += 1
    return whole
