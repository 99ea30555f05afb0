"""The words in which a gate's suite is written: one expectation a line, its reason beside it.

    Judged("kept", frame, "image_id", [
        rows(limits.min_rows, why="an empty table passes every share"),
        between("age", 0, OLDEST, why="the age bins end there"),
    ])

Each word stands for one type of Great Expectations; they are plain values here, and `faceline.gates.suite` alone
imports that package (5-10 s). A value that is null meets every expectation but `known`, as Great Expectations has it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from faceline.params import Settings

NAMES = ("ingest", "clean", "detect", "crop", "split", "shard", "train", "evaluate")  # gates, in the pipeline's order


@dataclass(frozen=True)
class Expectation:
    """A type of Great Expectations (`expect_…`), its arguments, and why a good table meets it."""

    type: str
    why: str
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """A frame and what is expected of it.

    `key` is the column that names a row in examples. `essential`: if this fails, later frames cannot be read and are
    not judged. `numbers` go to the top level of the gate's report; `skipped` says what could not be judged, and why.
    """

    name: str
    frame: pd.DataFrame
    key: str | None
    expectations: Sequence[Expectation]
    essential: bool = False
    numbers: dict[str, int] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """What a gate is given: the folder it judges, what that was made from, and, where there is one, its own store."""

    table: Path
    beside: Path
    dataset: str
    recipe: str
    store: Path | None = None


@dataclass(frozen=True)
class Gate:
    """A gate: its settings, its suite, and what it does once its tables are accepted."""

    limits: type[Settings]
    suite: Callable[[Inputs, Any], Iterator[Judged]]
    accept: Callable[[Inputs], None] | None = None


def rows(minimum: int, maximum: int | None = None, *, why: str) -> Expectation:
    """The table has `minimum` to `maximum` rows."""
    return _expect("table_row_count_to_be_between", why, min_value=minimum, max_value=maximum)


def columns(names: Sequence[str], *, why: str) -> Expectation:
    """The table has exactly these columns, in this order."""
    return _expect("table_columns_to_match_ordered_list", why, column_list=list(names))


def exists(column: str, *, why: str) -> Expectation:
    """The table has such a column."""
    return _expect("column_to_exist", why, column=column)


def absent(column: str, *, why: str) -> Expectation:
    """Every value is null."""
    return _expect("column_values_to_be_null", why, column=column)


def known(column: str, share: float = 1.0, *, why: str) -> Expectation:
    """At least this share of the values is not null."""
    return _expect("column_values_to_not_be_null", why, column=column, mostly=share)


def unique(column: str, *, why: str) -> Expectation:
    """No value occurs twice."""
    return _expect("column_values_to_be_unique", why, column=column)


def between(column: str, minimum: float | None, maximum: float | None, *, why: str) -> Expectation:
    """Every value lies between the two, both allowed; None is no bound."""
    return _expect("column_values_to_be_between", why, column=column, min_value=minimum, max_value=maximum)


def one_of(column: str, values: Sequence[Any], *, why: str) -> Expectation:
    """Every value is one of these."""
    return _expect("column_values_to_be_in_set", why, column=column, value_set=list(values))


def matches(column: str, regex: str, *, why: str) -> Expectation:
    """Every value matches the regular expression."""
    return _expect("column_values_to_match_regex", why, column=column, regex=regex)


def equal(column: str, other: str, *, why: str) -> Expectation:
    """The two columns hold the same in every row; null equals null only."""
    return _expect("column_pair_values_to_be_equal", why, column_A=column, column_B=other)


def mean(column: str, minimum: float, maximum: float, *, why: str) -> Expectation:
    """The column's mean lies between the two, both allowed."""
    return _expect("column_mean_to_be_between", why, column=column, min_value=minimum, max_value=maximum)


def _expect(kind: str, why: str, **kwargs: Any) -> Expectation:
    return Expectation(f"expect_{kind}", why, {name: value for name, value in kwargs.items() if value is not None})
