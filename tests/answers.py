"""Small tables of predictions: everybody is 30, genders alternate, all are white, and every answer is right."""

from typing import Any

import pyarrow as pa

from faceline.datasets.tables import PREDICTIONS

ROWS = 40


def predictions(rows: int = ROWS, **changes: Any) -> pa.Table:
    """A table with schema PREDICTIONS, with columns replaced by `changes`."""
    columns: dict[str, Any] = {
        "image_id": [f"{row:064x}" for row in range(rows)],
        "group": [None] * rows,
        "age": [30] * rows,
        "gender": [row % 2 for row in range(rows)],
        "race": [0] * rows,
        "age_predicted": [30.0] * rows,
        "age_low": [25.0] * rows,
        "age_high": [35.0] * rows,
        "female_probability": wrong_genders(0, rows),
        "race_probabilities": wrong_races(0, rows),
        **changes,
    }
    return pa.table(columns, PREDICTIONS)


def wrong_genders(count: int, rows: int = ROWS) -> list[float]:
    """Probabilities of "female" that are wrong in the first `count` rows."""
    return [0.9 if (row % 2 == 1) != (row < count) else 0.1 for row in range(rows)]


def wrong_races(count: int, rows: int = ROWS) -> list[list[float]]:
    """Probabilities of races that are wrong in the first `count` rows."""
    return [[0.1, 0.6, 0.1, 0.1, 0.1] if row < count else [0.6, 0.1, 0.1, 0.1, 0.1] for row in range(rows)]
