"""What the report is made of: whatever the stages have left so far. A table that is not there is None, not an error."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from faceline.files import digest, read_json, read_table

STAGES = ("ingest", "clean", "detect", "crop", "split", "shard", "evaluate")  # those that have rows, in order
GATES = ("ingest", "clean", "detect", "crop", "split", "shard", "train", "evaluate")
LABELS = ["age", "gender", "race"]
FOLDERS = {"shard": "shards"}  # a stage's folder below data, where it is not named as the stage


@dataclass(frozen=True)
class Material:
    """The outputs of all stages, as far as they exist."""

    summaries: dict[str, dict[str, Any]]  # by stage
    gates: dict[str, dict[str, Any]]  # by gate
    labels: pd.DataFrame | None  # before cleaning: age (years), gender, race
    kept: pd.DataFrame | None  # after cleaning: image_id, age, gender, race
    history: pd.DataFrame | None  # a row an epoch
    card: dict[str, Any] | None  # of the bundle
    bundle_digest: str | None  # of the card, which has those of the networks
    metrics: dict[str, Any] | None  # of this bundle on the test subset, slices included
    predictions: pa.Table | None
    crossvalidation: dict[str, Any] | None  # metrics by fold, and what they were measured on
    suspects: pa.Table | None  # of labels
    crops: tuple[Path, ...]  # the parts of the table of crops


def gather(data: Path, models: Path) -> Material:
    """Read what lies below the folders `data` and `models`."""
    history, card = models / "history.csv", models / "bundle" / "card.json"
    bundle = digest(card) if card.exists() else None
    summaries = _each(STAGES, lambda stage: data / FOLDERS.get(stage, stage) / "summary.json")
    if summaries.get("evaluate", {}).get("bundle") != bundle:
        summaries.pop("evaluate", None)  # another bundle was judged
    return Material(
        summaries=summaries,
        gates=_each(GATES, lambda gate: data / "gates" / f"{gate}.json"),
        labels=_frame(data / "ingest" / "labels.parquet", LABELS),
        kept=_frame(data / "clean" / "kept.parquet", ["image_id", *LABELS]),
        history=pd.read_csv(history) if history.exists() else None,
        card=_json(card),
        bundle_digest=bundle,
        metrics=summaries.get("evaluate", {}).get("metrics"),
        predictions=_table(data / "evaluate" / "predictions.parquet") if "evaluate" in summaries else None,
        crossvalidation=_json(data / "crossvalidate" / "metrics.json"),
        suspects=_table(data / "crossvalidate" / "suspects.parquet"),
        crops=tuple(sorted((data / "crop" / "faces").glob("part-*.parquet"))),
    )


def _each(names: tuple[str, ...], place: Callable[[str], Path]) -> dict[str, dict[str, Any]]:
    found = {name: _json(place(name)) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _json(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.exists() else None


def _table(path: Path) -> pa.Table | None:
    return read_table(path) if path.exists() else None


def _frame(path: Path, columns: list[str]) -> pd.DataFrame | None:
    return read_table(path, columns).to_pandas() if path.exists() else None
