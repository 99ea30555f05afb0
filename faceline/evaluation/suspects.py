"""Labels that are probably wrong, found by answers of networks that have not seen them (confident learning).

Gender and race: cleanlab's label issues (Northcutt et al. 2021, https://jair.org/index.php/jair/article/view/12125),
ranked by the probability of the label. Age: the error as a multiple of the half-width of the row's own
interval, so that an age that is hard to tell is not suspect for that. `proposals` makes overrides of them for a person
to look at. cleanlab takes seconds to import, so only the functions that need it do.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from faceline.datasets.labels import GENDERS, RACES, TARGETS
from faceline.datasets.tables import SUSPECTS
from faceline.evaluation.judged import Floats, Judged
from faceline.params import Settings

NAMES = {"gender": GENDERS, "race": RACES}
REASON = "suspect_label"  # how the note of a proposal begins


class SuspectSettings(Settings):
    """The section `suspects` of params.yaml."""

    age_error: Annotated[float, Field(gt=0)]  # from which an age is suspect; in half-widths of its interval
    most: Annotated[int, Field(ge=1)]  # rows listed for each target


def suspects(predictions: pa.Table, paths: "pd.Series[str]", settings: SuspectSettings) -> pa.Table:
    """The suspect rows of each target, most suspect first.

    Args:
        predictions: out of fold, with the columns of schema PREDICTIONS at least.
        paths: of the pictures to look at, by image_id; others are judged by, and not listed.

    Returns:
        A table with schema SUSPECTS.
    """
    frames = []
    for target in TARGETS:
        found = _age(predictions, settings) if target == "age" else _codes(predictions, target)
        found = found[found["image_id"].isin(paths.index)].sort_values(["score", "image_id"])[: settings.most]
        ranks = np.arange(1, len(found) + 1)
        frames.append(found.assign(target=target, rank=ranks, path=found["image_id"].map(paths)))
    return pa.Table.from_pandas(pd.concat(frames), SUSPECTS, preserve_index=False)


def proposals(table: pa.Table) -> pd.DataFrame:
    """Suspects as overrides, one row a picture, most suspect first.

    A gender or race that is suspect alone would be set to the answer. Otherwise the row would be rejected: an answer
    in years is no label, and where several labels are unlikely the picture may show somebody else.

    Returns:
        path, action, age, gender, race (Int16) and note, as a table of overrides has them; image_id and score.
    """
    rows: list[dict[str, Any]] = []
    for _, found in table.to_pandas().sort_values("score", kind="stable").groupby("path", sort=False):
        listed = found.to_dict("records")
        first = listed[0]
        settable = len(listed) == 1 and first["target"] in NAMES
        values = {first["target"]: int(first["predicted"])} if settable else {}
        note = f"{REASON}: " + "; ".join(f"{row['target']} {' but '.join(told(row))}" for row in listed)
        override = {"path": first["path"], "action": "set" if settable else "reject", **values, "note": note}
        rows.append({**override, "image_id": first["image_id"], "score": first["score"]})
    columns = ["path", "action", *TARGETS, "note", "image_id", "score"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(TARGETS, "Int16"))


def told(row: Mapping[str, Any]) -> tuple[str, str]:
    """Label and answer of a row with schema SUSPECTS, in words."""
    if row["target"] == "age":
        return f"label {row['label']}", f"predicted {row['predicted']:.1f}"
    names = NAMES[row["target"]]
    return f"label {names[int(row['label'])]}", f"predicted {names[int(row['predicted'])]}"


def _age(predictions: pa.Table, settings: SuspectSettings) -> pd.DataFrame:
    """Ages farther from their answer than the settings allow; columns image_id, label, predicted, score."""
    judged = Judged.of(predictions)
    half_width = judged.age_high - judged.age_predicted  # the lower bound may be cut off at 0
    known = ~np.isnan(judged.age) & (half_width > 0)
    if not known.any():
        return _frame(judged, known, judged.age, judged.age_predicted, np.empty(0))
    from cleanlab.regression.rank import get_label_quality_scores

    label, answer = judged.age[known] / half_width[known], judged.age_predicted[known] / half_width[known]
    scores = get_label_quality_scores(label, answer, method="residual")  # exp(-|label - answer|)
    return _frame(judged, known, judged.age, judged.age_predicted, scores)[np.abs(label - answer) > settings.age_error]


def _codes(predictions: pa.Table, target: str) -> pd.DataFrame:
    """Label issues of gender or race; columns image_id, label, predicted, score."""
    judged = Judged.of(predictions)
    answered, labels = getattr(judged, f"{target}_predicted"), getattr(judged, target)
    known = ~np.isnan(labels) & ~np.isnan(answered)
    codes = labels[known].astype(int)
    if len(np.unique(codes)) < 2:  # nothing that a label could have been confused with
        return _frame(judged, np.zeros_like(known), labels, answered, np.empty(0))
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    probabilities = _probabilities(predictions, judged, target)[known]
    issues: NDArray[np.bool_] = find_label_issues(codes, probabilities, n_jobs=1)
    scores = get_label_quality_scores(codes, probabilities, method="self_confidence")
    return _frame(judged, known, labels, answered, scores)[issues]


def _probabilities(predictions: pa.Table, judged: Judged, target: str) -> Floats:
    """The probability of each code, (N, K), adding up to 1; NaN where there is no answer."""
    if target == "gender":
        return np.stack([1 - judged.female_probability, judged.female_probability], axis=1)
    answers = predictions.column("race_probabilities").to_pylist()
    rows: Floats = np.array([[np.nan] * len(RACES) if row is None else row for row in answers], dtype=np.float64)
    normalized: Floats = rows / rows.sum(axis=1, keepdims=True)
    return normalized


def _frame(judged: Judged, rows: NDArray[np.bool_], label: Floats, predicted: Floats, scores: Floats) -> pd.DataFrame:
    """The rows of a mask of shape (N,); there are as many scores."""
    columns = {"image_id": judged.image_id[rows], "label": label[rows], "predicted": predicted[rows]}
    return pd.DataFrame({**columns, "score": scores})
