"""Crops as the report shows them: small JPEGs inside the page, chosen at random or because the answer was wrong."""

import base64
import io
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image
from pydantic import Field

from faceline.datasets.labels import GENDERS, RACES
from faceline.evaluation.judged import Judged
from faceline.evaluation.suspects import told
from faceline.params import Settings

SIDE = 112  # pixels; a larger crop is shown at this size


class ReportSettings(Settings):
    """Which pictures the report shows."""

    seed: int = 1  # of the random grid
    grid: int = Field(default=48, ge=0, le=500)  # crops in it
    worst: int = Field(default=12, ge=0, le=100)  # predictions shown for each target
    suspects: int = Field(default=12, ge=0, le=100)  # suspect labels shown for each target


@dataclass(frozen=True)
class Shown:
    """A picture to show; `lines` stand below it, `image_id` says which crop."""

    image_id: str
    lines: tuple[str, ...]


def random_crops(crops: Sequence[Path], kept: pd.DataFrame | None, settings: ReportSettings) -> list[Shown]:
    """A random sample of the crops with their labels; the same for the same rows and seed."""
    parts = (pq.read_table(part, columns=["image_id"])["image_id"].to_pylist() for part in crops)
    ids = sorted({str(image_id) for part in parts for image_id in part})
    chosen = random.Random(settings.seed).sample(ids, min(settings.grid, len(ids)))  # noqa: S311 (nothing secret)
    labels = {} if kept is None else kept.set_index("image_id").loc[:, ["age", "gender", "race"]].to_dict("index")
    return [Shown(image_id, _label_lines(labels.get(image_id, {}))) for image_id in chosen]


def worst(judged: Judged, target: str, count: int) -> list[Shown]:
    """The `count` answers farthest from their labels, worst first.

    Age: by absolute error. Gender and race: the wrong answers, by the probability that the bundle gave them.
    """
    label, answer = getattr(judged, target), getattr(judged, f"{target}_predicted")
    if target == "age":
        badness = np.abs(answer - label)
    else:
        wrong = ~np.isnan(label) & (label != answer)
        badness = np.where(wrong, judged.confidence(target), np.nan)
    known = np.flatnonzero(~np.isnan(badness))
    order = sorted(known, key=lambda row: (-badness[row], judged.image_id[row]))[:count]
    return [Shown(str(judged.image_id[row]), _verdict_lines(judged, target, int(row))) for row in order]


def suspect_crops(table: pa.Table, target: str, count: int) -> list[Shown]:
    """The `count` most suspect labels of a target in a table with schema SUSPECTS, most suspect first."""
    rows = sorted((row for row in table.to_pylist() if row["target"] == target), key=lambda row: row["rank"])
    return [Shown(row["image_id"], (*told(row), f"score {row['score']:.3f}")) for row in rows[:count]]


def thumbnails(crops: Sequence[Path], wanted: Collection[str]) -> dict[str, str]:
    """Data URIs of the wanted crops by image_id; holds one row group at a time."""
    return {image_id: _data_uri(png) for part in crops for image_id, png in _pick(part, set(wanted))}


def _pick(part: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    file = pq.ParquetFile(part)
    for group in range(file.num_row_groups):
        ids = file.read_row_group(group, columns=["image_id"])["image_id"].to_pylist()
        if wanted.isdisjoint(ids):
            continue
        rows = file.read_row_group(group, columns=["image_id", "png"])
        for row in rows.filter(pc.is_in(rows["image_id"], pc.cast(sorted(wanted), "string"))).to_pylist():
            yield row["image_id"], row["png"]


def _data_uri(png: bytes) -> str:
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()


def _label_lines(labels: dict[Any, Any]) -> tuple[str, ...]:
    """`34 · female` and `asian`, as far as known."""
    age, gender, race = (labels.get(name) for name in ("age", "gender", "race"))
    first = [
        None if pd.isna(age) else f"{int(age)}",
        None if pd.isna(gender) else GENDERS[int(gender)],
    ]
    second = None if pd.isna(race) else RACES[int(race)]
    return tuple(line for line in (" · ".join(word for word in first if word), second) if line)


def _verdict_lines(judged: Judged, target: str, row: int) -> tuple[str, ...]:
    """Label, prediction and error of one row."""
    label, answer = getattr(judged, target)[row], getattr(judged, f"{target}_predicted")[row]
    if target == "age":
        return f"label {label:.0f}", f"predicted {answer:.1f}", f"error {answer - label:+.1f} years"
    names = GENDERS if target == "gender" else RACES
    sure = judged.confidence(target)[row]
    return f"label {names[int(label)]}", f"predicted {names[int(answer)]}", f"{sure:.0%} sure"
