"""The clean stage: from ingested labels to kept and rejected rows, twins included."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from faceline.datasets.cleaning import CleanSettings
from faceline.datasets.tables import LABELS, OVERRIDES, THUMBNAIL
from faceline.params import parse_settings
from stages.clean import clean

RULES: dict[str, Any] = {
    "near_identical": {"distance": 4, "correlation": 0.98, "age_tolerance": 1, "contradicting": "report"}
}


def labels(*ages: int, twins: bool = True) -> pa.Table:
    """Labels with these ages; the first two pictures are near-identical, the others are not."""
    rng = np.random.default_rng(0)
    rows = []
    for number, age in enumerate(ages):
        picture = rng.integers(0, 256, THUMBNAIL * THUMBNAIL, dtype=np.uint8)
        rows.append(
            {
                "image_id": f"{number:064x}",
                "path": f"p/{number}.jpg",
                "phash": int(rng.integers(0, 2**63)),
                "thumbnail": picture.tobytes(),
                "age": age,
                "gender": 1,
            }
        )
    if twins:
        rows[1] |= {"phash": rows[0]["phash"] ^ 3, "thumbnail": rows[0]["thumbnail"]}
    return pa.Table.from_pylist(rows, LABELS)


def settings(contradicting: str) -> CleanSettings:
    rule = {**RULES["near_identical"], "contradicting": contradicting}
    return parse_settings(CleanSettings, {**RULES, "near_identical": rule}, "clean")


@pytest.mark.parametrize(("second", "contradicting"), [(30, False), (31, False), (32, True)])
def test_twins_are_reported(second: int, contradicting: bool) -> None:
    verdict, twins = clean(labels(30, second, 50), OVERRIDES.empty_table(), settings("report"))
    assert verdict.kept.all()
    (pair,) = twins.to_pylist()
    assert (pair["first"], pair["second"], pair["distance"]) == (f"{0:064x}", f"{1:064x}", 2)
    assert pair["contradicting"] is contradicting


def test_contradicting_twins_are_rejected_where_the_settings_say_so() -> None:
    verdict, _ = clean(labels(30, 32, 50), OVERRIDES.empty_table(), settings("reject"))
    assert verdict.reason.fillna("kept").tolist() == ["contradicting_twin", "contradicting_twin", "kept"]
    verdict, _ = clean(labels(30, 31, 50), OVERRIDES.empty_table(), settings("reject"))
    assert verdict.kept.all()


def test_a_table_without_rows_is_cleaned_to_one_without_rows() -> None:
    verdict, twins = clean(LABELS.empty_table(), OVERRIDES.empty_table(), settings("report"))
    assert len(verdict.rows) == len(twins) == 0
