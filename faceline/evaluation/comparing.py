"""Two tables of predictions on the same pictures: is B better than A, or may their difference be chance?

Both judge the same rows, so rows are compared in pairs: what makes a picture hard for both cancels out, and a small
difference shows on far fewer pictures than if the two were measured apart. Pictures of one person are drawn together.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import binomtest

from faceline.datasets.labels import TARGETS
from faceline.datasets.sources.columns import damage_named
from faceline.datasets.tables import PREDICTIONS
from faceline.errors import SourceError
from faceline.evaluation.bootstrap import Bootstrap
from faceline.evaluation.judged import NUMBERS, Floats, Judged
from faceline.evaluation.wording import FEW
from faceline.files import read_table

FILE = "predictions.parquet"
METRICS = {"age": "mae", "gender": "accuracy", "race": "accuracy"}  # the headline of each target

Verdict = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class Difference:
    """The headline metric of a target on rows that A and B share; age in years, gender and race as shares of rows."""

    target: str
    a: float
    b: float
    difference: float  # B - A
    low: float  # bounds of its interval
    high: float
    level: float  # of the interval, and of the sign test
    wins: int  # groups on which B errs less: more right answers, or fewer years off
    losses: int  # groups on which it errs more
    rows: int  # with one label in both tables, and an answer in each
    groups: int  # of these rows
    conflicts: int  # common rows left out because their labels differ, or only one table has a label

    @property
    def metric(self) -> str:
        """Its name, as thresholds have it: age_mae (lower is better), gender_accuracy, race_accuracy (higher)."""
        return f"{self.target}_{METRICS[self.target]}"

    @property
    def verdict(self) -> Verdict:
        """What is shown of B: its interval leaves out 0, and rests on enough groups.

        Of accuracies the exact sign test of the groups that one of the two answers better says so, too (for rows on
        their own: Q. McNemar, Psychometrika 12, 1947): few answers that differ are too few for the bootstrap.
        """
        if self.groups < FEW or self.low <= 0 <= self.high:
            return "no difference shown"
        if METRICS[self.target] == "mae":
            return "better" if self.high < 0 else "worse"
        shown = binomtest(self.wins, self.wins + self.losses).pvalue <= 1 - self.level
        if not shown or (self.low > 0) != (self.wins > self.losses):
            return "no difference shown"
        return "better" if self.low > 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    """Two tables of predictions side by side; a target that no row lets compare has no difference."""

    rows_a: int
    rows_b: int
    common: int  # rows whose image_id both have
    bootstrap: Bootstrap
    differences: tuple[Difference, ...]

    @property
    def beats(self) -> bool:
        """B is better in at least one headline metric and worse in none."""
        verdicts = {difference.verdict for difference in self.differences}
        return "better" in verdicts and "worse" not in verdicts

    @property
    def not_compared(self) -> tuple[str, ...]:
        """Targets without a row that both tables label alike and answer."""
        compared = {difference.target for difference in self.differences}
        return tuple(target for target in TARGETS if target not in compared)


def predictions_file(path: Path) -> Path:
    """The table that `path` means: itself, or the one in its folder."""
    return path / FILE if path.is_dir() else path


def read_predictions(file: Path) -> pa.Table:
    """The columns of a table of predictions, as far as the file has them; `compare` asks for the rest.

    Raises:
        SourceError: the file is missing, damaged or no Parquet; the message names it.
    """
    with damage_named(file):
        table = read_table(file, PREDICTIONS.names)
        table.validate(full=True)
    return table


def compare(
    a: pa.Table,
    b: pa.Table,
    *,
    samples: int = 2000,
    seed: int = 1,
    level: float = 0.95,
    names: tuple[str, str] = ("A", "B"),
) -> Comparison:
    """B beside A, on the rows that both have.

    Args:
        a: a table with schema PREDICTIONS, in any order of rows; further columns are ignored. `group` may be missing,
            as in older tables: a row's group is that of A, else that of B, else the row is on its own.
        b: another, usually of the same test subset.
        samples: how often the groups are drawn anew for an interval.
        seed: of these draws; each target starts from it, so no interval depends on which other targets there are.
        level: the share of experiments whose interval holds the true difference.
        names: what errors call the tables.

    Raises:
        SettingsError: `samples`, `seed` or `level` is out of range.
        SourceError: a table is not one of predictions or has an image_id twice, or there is nothing to compare.
    """
    bootstrap = Bootstrap(samples, seed, level)
    a, b = _with_group(a), _with_group(b)
    for table, name in zip((a, b), names, strict=True):
        _check_columns(table, name)
        _check_keys(table, name)
        _check_numbers(table, name)
    first, second = _common(a, b)
    if not len(first.image_id):
        raise SourceError(f"{names[0]} and {names[1]} have no image_id in common")
    found = [_difference(first, second, target, bootstrap) for target in TARGETS]
    differences = tuple(difference for difference in found if difference)
    if not differences:
        raise SourceError(f"{names[0]} and {names[1]} have no row with the same label and an answer in both")
    return Comparison(a.num_rows, b.num_rows, len(first.image_id), bootstrap, differences)


def _with_group(table: pa.Table) -> pa.Table:
    """The table with a column `group`, null where it has none."""
    if "group" in table.schema.names:
        return table
    return table.append_column(PREDICTIONS.field("group"), pa.nulls(len(table), pa.string()))


def _check_columns(table: pa.Table, name: str) -> None:
    absent = [column for column in PREDICTIONS.names if table.schema.names.count(column) != 1]
    if absent:
        raise SourceError(f"{name} is no table of predictions; it lacks, or has twice: {', '.join(absent)}")
    for declared in PREDICTIONS:
        found = table.schema.field(declared.name).type
        if not found.equals(declared.type):
            raise SourceError(f"{name} is no table of predictions: {declared.name} is {found}, not {declared.type}")


def _check_keys(table: pa.Table, name: str) -> None:
    """Each row has an image_id of its own: with two rows of one picture, a pair would be a matter of luck."""
    keys = table.column("image_id")
    if keys.null_count:
        raise SourceError(f"{name} has {keys.null_count} rows without an image_id")
    counts = keys.value_counts()
    twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(twice):
        raise SourceError(f"{name} has image_id {twice[0].as_py()} more than once")


def _check_numbers(table: pa.Table, name: str) -> None:
    """A null is no answer; NaN is one of a network that diverged, and to leave it out would flatter the network."""
    races = pc.fill_null(pc.list_flatten(table.column("race_probabilities")), float("nan"))
    columns = {**{column: table.column(column) for column in NUMBERS}, "race_probabilities": races}
    for column, values in columns.items():
        if not pc.all(pc.is_finite(values), min_count=0).as_py():
            raise SourceError(f"{name} has an entry in {column} that is no finite number")


def _common(a: pa.Table, b: pa.Table) -> tuple[Judged, Judged]:
    """The rows that both have, pair by pair, sorted by image_id: no result depends on the order of rows."""
    keys_a, keys_b = (np.asarray(table.column("image_id").to_pylist(), dtype=object) for table in (a, b))
    _, in_a, in_b = np.intersect1d(keys_a, keys_b, assume_unique=True, return_indices=True)
    a, b = a.take(in_a), b.take(in_b)
    group = pc.coalesce(a["group"], b["group"])
    first, second = (t.set_column(t.schema.get_field_index("group"), PREDICTIONS.field("group"), group) for t in (a, b))
    return Judged.of(first), Judged.of(second)


def _difference(a: Judged, b: Judged, target: str, bootstrap: Bootstrap) -> Difference | None:
    """The difference in one target; None where no row lets compare."""
    label, other = getattr(a, target), getattr(b, target)
    same, unknown = label == other, np.isnan(label) & np.isnan(other)
    score_a, score_b = _scores(a, target), _scores(b, target)
    known = same & ~np.isnan(score_a) & ~np.isnan(score_b)
    if not known.any():
        return None
    score_a, score_b, groups = score_a[known], score_b[known], a.group[known]
    gain = score_b - score_a
    low, high = bootstrap.interval(gain, groups)
    _, places = np.unique(groups, return_inverse=True)
    signs = np.sign(np.bincount(places, weights=gain)) * (-1 if METRICS[target] == "mae" else 1)
    return Difference(
        target,
        a=float(score_a.mean()),
        b=float(score_b.mean()),
        difference=float(gain.mean()),
        low=low,
        high=high,
        level=bootstrap.level,
        wins=int(np.sum(signs > 0)),
        losses=int(np.sum(signs < 0)),
        rows=len(gain),
        groups=len(signs),
        conflicts=int(np.sum(~same & ~unknown)),
    )


def _scores(judged: Judged, target: str) -> Floats:
    """What the headline is the mean of: years off, or 1 where right; NaN without an answer. Shape (N,)."""
    label, answer = getattr(judged, target), getattr(judged, f"{target}_predicted")
    if METRICS[target] == "mae":
        return np.asarray(np.abs(answer - label), dtype=np.float64)
    return np.where(np.isnan(answer), np.nan, answer == label)
