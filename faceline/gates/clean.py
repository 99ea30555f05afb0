"""The gate of data/clean: the kept rows have labels within the rules, unaltered, and no row is lost."""

from collections.abc import Iterator

import pandas as pd

from faceline.datasets.labels import OLDEST, TARGETS
from faceline.datasets.tables import KEPT, REJECTED
from faceline.gates.expectations import Gate, Inputs, Judged, between, equal, known, rows, unique
from faceline.gates.frames import (
    codes,
    conserved,
    counted,
    distribution,
    facts,
    identified,
    read_frame,
    read_labels,
    read_summary,
    rejected,
    shape,
    share,
)
from faceline.gates.limits import LabelLimits, Range, Rows, Share
from faceline.params import Settings


class Limits(Settings):
    """Thresholds of the clean gate."""

    min_rows: Rows  # kept
    max_rejected: Share  # of the readable rows
    age: Range | None = None  # years; what the cleaning rules should have left, by default every possible age
    labels: LabelLimits


def suite(inputs: Inputs, limits: Limits) -> Iterator[Judged]:
    """Shapes, then the kept rows, their labels against the sources', then what was rejected."""
    yield from shape(inputs.table / "kept.parquet", KEPT)
    yield from shape(inputs.table / "rejected.parquet", REJECTED)
    kept = read_labels(inputs.table / "kept.parquet", KEPT.names)
    dropped = read_frame(inputs.table / "rejected.parquet", ["path", "reason"])
    before = read_labels(inputs.beside / "labels.parquet", KEPT.names)
    yield _kept(kept, limits)
    yield from distribution("kept", "path", kept, limits.labels)
    yield conserved("path", before["path"], kept["path"], dropped["path"])
    yield _unaltered(kept, before, read_frame(inputs.beside / "overrides.parquet", ["path", "action", *TARGETS]))
    yield rejected(inputs.table / "rejected.parquet", "path")
    yield counted(read_summary(inputs.table), len(before), len(kept), dropped["reason"])
    few = [between("rejected", 0, limits.max_rejected, why="a rule that rejects more than this is set wrong")]
    yield facts("shares of the readable rows", {"rejected": share(len(dropped), len(before))}, few)


def _kept(kept: pd.DataFrame, limits: Limits) -> Judged:
    """Rows are named by their path in the source, which is where people mend them."""
    age = limits.age or Range(minimum=0, maximum=OLDEST)
    expectations = [
        rows(limits.min_rows, why="an empty table passes every share"),
        *identified(),
        known("path", why="it leads back to the source"),
        unique("path", why="a row of the source is kept once"),
        between("age", age.minimum, age.maximum, why="the cleaning rules leave no other age"),
        *codes(),
    ]
    return Judged("kept.parquet", kept, "path", expectations, numbers={"rows": len(kept)})


def _unaltered(kept: pd.DataFrame, before: pd.DataFrame, overrides: pd.DataFrame) -> Judged:
    """The kept rows beside those of the source with the same path, as the table of overrides changes these."""
    said = before.drop_duplicates("path").set_index("path")
    changes = overrides[overrides["action"] == "set"].drop_duplicates("path").set_index("path")
    for target in TARGETS:
        said[target] = changes[target].reindex(said.index).combine_first(said[target])
    frame = kept.merge(said.reset_index(), "left", "path", suffixes=("", "_given"))
    expectations = [
        equal(column, f"{column}_given", why="clean chooses rows; only an override changes what the source says")
        for column in KEPT.names
        if column != "path"
    ]
    return Judged("kept beside labels", frame, "path", expectations)


GATE = Gate(Limits, suite)
