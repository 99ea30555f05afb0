"""The gate of data/split: no group stands on two sides, subsets are alike and as large as asked, and rows stay put.

The last accepted assignment lies in the gate's store, one a dataset, seed and fractions. A row whose subset was another
then has moved, which is explained only if the pictures of its group are not those of then.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
from pydantic import Field

from faceline.datasets.tables import ASSIGNMENT, SUBSETS
from faceline.files import read_table, write_table
from faceline.gates.expectations import Expectation, Gate, Inputs, Judged, between, known, one_of, rows
from faceline.gates.frames import conserved, counted, identified, read_frame, read_summary, shape
from faceline.gates.limits import Rows, Share
from faceline.params import Settings

READ = ["image_id", "group", "subset", "fold"]


class Limits(Settings):
    """Thresholds of the split gate."""

    min_rows: Rows  # in each subset
    max_group: Share  # of all rows: the largest group
    fraction_tolerance: Share  # between a subset's share of the rows and the fraction asked for
    age_mean_tolerance: Annotated[float, Field(ge=0)]  # years, between a subset's mean age and that of train
    share_tolerance: Share  # between a label's share in a subset and in train


def suite(inputs: Inputs, limits: Limits) -> Iterator[Judged]:
    """Shape, then rows, groups, subsets and their labels, then what moved."""
    yield from shape(inputs.table / "assignment.parquet", ASSIGNMENT)
    frame = read_frame(inputs.table / "assignment.parquet", READ)
    before = read_frame(inputs.beside / "faces", ["image_id"])["image_id"]
    summary = read_summary(inputs.table)
    yield _rows(frame, summary.get("folds", 0))
    yield conserved("image_id", before, frame["image_id"], pd.Series(dtype=str))
    yield counted(summary, len(before), len(frame), [])
    yield _folds(frame, summary.get("folds", 0))
    yield _groups(frame, limits)
    yield _subsets(frame, summary.get("fractions", {}), limits)
    yield from _alike(summary.get("labels", {}), limits)
    yield _moved(frame, _accepted(inputs))


def _rows(frame: pd.DataFrame, asked: int) -> Judged:
    expectations = [
        rows(1, why="an empty table passes every share"),
        *identified(),
        known("group", why="a picture without a group could stand on two sides"),
        known("subset", why="a picture without a subset is lost to all"),
        one_of("subset", SUBSETS, why="there are three subsets"),
        known("fold", why="cross-validation needs every picture"),
        between("fold", 0, max(asked, 1) - 1, why="as many folds as were asked for are numbered from 0"),
    ]
    return Judged("assignment.parquet", frame, "image_id", expectations, numbers={"rows": len(frame)})


def _folds(frame: pd.DataFrame, asked: int) -> Judged:
    """The rows of each fold that was asked for."""
    sizes = frame["fold"].value_counts().reindex(range(asked), fill_value=0)
    expectations = [
        rows(2, why="summary.json says how many folds were asked for; one alone is judged on what it learnt"),
        between("rows", 1, None, why="a fold without pictures judges nothing"),
    ]
    return Judged("folds", sizes.rename("rows").rename_axis("fold").reset_index(), "fold", expectations)


def _groups(frame: pd.DataFrame, limits: Limits) -> Judged:
    by_group = frame.groupby("group")
    groups = by_group[["subset", "fold"]].nunique().rename(columns={"subset": "subsets", "fold": "folds"})
    groups["share"] = by_group.size() / max(len(frame), 1)
    expectations = [
        one_of("subsets", [1], why="one person on both sides of a split is tested on what was learnt by heart"),
        one_of("folds", [1], why="as for subsets, in cross-validation"),
        between("share", 0, limits.max_group, why="a large group is a chain of chance likenesses, and moves as one"),
    ]
    return Judged("groups", groups.reset_index(), "group", expectations, numbers={"groups": len(groups)})


def _subsets(frame: pd.DataFrame, fractions: dict[str, float], limits: Limits) -> Judged:
    sizes = frame["subset"].value_counts().reindex(list(SUBSETS), fill_value=0)
    subsets = sizes.rename("rows").rename_axis("subset").reset_index()
    subsets["share"] = subsets["rows"] / max(len(frame), 1)
    subsets["fraction"] = pd.Series([fractions.get(subset) for subset in SUBSETS], dtype=float)
    subsets["gap"] = (subsets["share"] - subsets["fraction"]).abs()
    expectations = [
        between("rows", limits.min_rows, None, why="a subset of a few rows neither trains nor judges a model"),
        known("fraction", why="summary.json says which fractions were asked for"),
        between("gap", 0, limits.fraction_tolerance, why="groups are drawn by hash, so shares are near the fractions"),
    ]
    return Judged("subsets", subsets, "subset", expectations)


def _alike(labels: dict[str, dict[str, float | None]], limits: Limits) -> Iterator[Judged]:
    """The labels of validation and test beside those of train, from the stage's summary."""
    reference = labels.get("train", {})
    measured = [
        {"label": f"{subset} {name}", "name": name, "there": labels.get(subset, {}).get(name), "train": value}
        for subset in SUBSETS[1:]
        for name, value in reference.items()
        if value is not None
    ]
    frame = pd.DataFrame(measured, columns=["label", "name", "there", "train"])
    frame["gap"] = (frame["there"].astype(float) - frame["train"].astype(float)).abs()
    ages = frame["name"] == "age_mean"
    for name, rows_of, tolerance in (
        ("mean age beside train's", frame[ages], limits.age_mean_tolerance),
        ("shares of labels beside train's", frame[~ages], limits.share_tolerance),
    ):
        yield Judged(name, rows_of.reset_index(drop=True), "label", _near(tolerance))


def _near(tolerance: float) -> list[Expectation]:
    return [
        known("there", why="a label that train has is in every subset"),
        between("gap", 0, tolerance, why="a test subset of other people than train's measures something else"),
    ]


def _moved(frame: pd.DataFrame, accepted: pd.DataFrame | None) -> Judged:
    """The rows whose subset is another than when this gate last passed."""
    if accepted is None:
        accepted = frame.iloc[:0]
    both = frame.merge(accepted, on="image_id", suffixes=("", "_before"))
    members, members_before = (of.groupby("group")["image_id"].agg(frozenset) for of in (frame, accepted))
    moved = both[both["subset"] != both["subset_before"]].copy()
    same = moved["group"].map(members) == moved["group_before"].map(members_before)
    moved["group_changed"] = (~same).astype(int)
    why = "a picture keeps its subset for ever, unless its group gains or loses pictures"
    expectations = [one_of("group_changed", [1], why=why)]
    numbers = {"moved": len(moved), "moved_unexplained": int(same.sum())}
    return Judged("moved rows", moved, "image_id", expectations, numbers=numbers)


def accept(inputs: Inputs) -> None:
    """Keep the assignment that has passed, for the next time."""
    if inputs.store:
        write_table(_stored(inputs, inputs.store), read_table(inputs.table / "assignment.parquet"), ASSIGNMENT)


def _accepted(inputs: Inputs) -> pd.DataFrame | None:
    """The assignment that passed last; None where there is none, or a damaged one."""
    if inputs.store is None:
        return None
    try:
        return read_frame(_stored(inputs, inputs.store), READ)
    except (OSError, pa.ArrowException):
        return None


def _stored(inputs: Inputs, store: Path) -> Path:
    """Another seed or other fractions give another assignment, with which nothing can be compared."""
    summary: dict[str, Any] = read_summary(inputs.table)
    settings = json.dumps([summary.get("seed"), summary.get("fractions")], sort_keys=True)
    return store / "split" / f"{inputs.dataset}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}.parquet"


GATE = Gate(Limits, suite, accept)
