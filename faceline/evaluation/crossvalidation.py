"""Cross-validation in figures: metrics of each fold's predictions, their mean and standard deviation over the folds."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import pandas as pd
import pyarrow as pa
from rich.table import Table

from faceline.datasets.labels import TARGETS
from faceline.evaluation.metrics import DIGITS, Constants, evaluate
from faceline.evaluation.sections import fold_measures
from faceline.evaluation.wording import number

BOUNDS = ("_low", "_high")  # how metrics of bounds end


def across_folds(tables: Mapping[int, pa.Table]) -> dict[str, Any]:
    """The metrics of out-of-fold predictions.

    Args:
        tables: with schema PREDICTIONS, by fold; two at least.

    Returns:
        `rows`; `folds`, a list with fold, rows and the keys `age`, `gender`, `race` of models/metrics.json; and `mean`
        and `sd` (of a sample: n - 1) with the same keys, of the numbers that every fold has, but for bounds: the mean
        of intervals is no interval of the mean.
    """
    folds = []
    for fold, table in tables.items():
        measured = evaluate(table, Constants())
        targets = {name: measured[name] for name in TARGETS if name in measured}
        folds.append({"fold": fold, "rows": table.num_rows, **targets})
    found = [{name: fold[name] for name in TARGETS if name in fold} for fold in folds]
    rows = sum(fold["rows"] for fold in folds)
    return {"rows": rows, "folds": folds, "mean": _over(found, mean), "sd": _over(found, stdev)}


def _over(values: Sequence[Any], reduce: Callable[[Sequence[float]], float]) -> Any:
    """Nested mappings of numbers as one, each number reduced over those of all."""
    if not isinstance(values[0], dict):
        return round(float(reduce([float(value) for value in values])), DIGITS)
    common = [key for key in values[0] if not key.endswith(BOUNDS) and all(key in value for value in values)]
    return {key: _over([value[key] for value in values], reduce) for key in common}


def frame(metrics: dict[str, Any]) -> pd.DataFrame:
    """A row a metric: its dotted name, its value in each fold, mean and standard deviation."""
    rows = [
        {
            "metric": path,
            **{f"fold_{fold['fold']}": number(fold, path) for fold in metrics["folds"]},
            "mean": number(metrics["mean"], path),
            "sd": number(metrics["sd"], path),
        }
        for path in _paths(metrics["mean"])
    ]
    return pd.DataFrame(rows)


def table(metrics: dict[str, Any]) -> Table:
    """The table that is printed: a row a measure."""
    shown = Table("measure", f"mean of {len(metrics['folds'])} folds", "standard deviation")
    for row in fold_measures(metrics):
        shown.add_row(*row)
    return shown


def _paths(values: Mapping[str, Any], above: str = "") -> list[str]:
    """The dotted names of the numbers in nested mappings."""
    found: list[str] = []
    for name, value in values.items():
        found += _paths(value, f"{above}{name}.") if isinstance(value, Mapping) else [f"{above}{name}"]
    return found
