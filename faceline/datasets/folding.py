"""Folds of the shards for cross-validation: every row once more, in units that each fold puts together as it needs.

    <folder>/units/3-val/part-00000.tfrecord …    one unit: the share of fold 3 that validates while 3 is not held out
    <folder>/3/shards/manifest.json               shards as any others; the held-out fold is their test subset

Units keep groups whole, and so does everything that is put together of them.
"""

import math
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from faceline.datasets.records import LABEL_COLUMNS, MANIFEST, label_counts, read_manifest, read_rows, write_part
from faceline.datasets.splitting import lot
from faceline.datasets.tables import SUBSETS
from faceline.errors import SourceError
from faceline.files import read_table, write_json
from faceline.params import Settings

HELD_OUT = "test"  # what the fold that is not trained on is called in its shards
UNITS = "units"


class FoldSettings(Settings):
    """The section `crossvalidate` of params.yaml."""

    validation: Annotated[float, Field(gt=0, lt=1)]  # share of the other folds' groups; chooses the epoch, calibrates
    seed: int  # of which groups these are


def assigned(split: Path, clean: Path, settings: FoldSettings) -> pd.DataFrame:
    """Fold, unit and labels of every picture, from the folders of `split` and `clean`.

    Returns:
        image_id, group, fold, unit (as `3-val`), age, gender, race (Int16).
    """
    rows = read_table(split / "assignment.parquet", ["image_id", "group", "fold"]).to_pandas()
    parts = {group: part_of(group, settings) for group in rows["group"].unique()}
    rows["unit"] = rows["fold"].astype(str) + "-" + rows["group"].map(parts)
    kept = read_table(clean / "kept.parquet", ["image_id", *LABEL_COLUMNS]).to_pandas()
    joined: pd.DataFrame = rows.merge(kept, on="image_id", validate="one_to_one")
    joined[list(LABEL_COLUMNS)] = joined[list(LABEL_COLUMNS)].astype("Int16")  # whole numbers with nulls
    return joined


def part_of(group: str, settings: FoldSettings) -> str:
    """Whether a group trains or validates while another fold is held out; depends on the seed and its key alone."""
    return "val" if lot(settings.seed, "crossvalidate", group) < settings.validation else "train"


def subset_of(unit: str, fold: int) -> str:
    """The subset that a unit, as `3-val`, is of while `fold` is held out."""
    own, _, part = unit.partition("-")
    return HELD_OUT if int(own) == fold else part


def write_folds(shards: Path, rows: pd.DataFrame, folder: Path, size: int) -> list[int]:
    """Write the units and, for each fold, the manifest of its shards; the folds.

    The shards are read once a unit, so that no more than a row group of pictures is held.

    Args:
        shards: the folder of the shards with all rows.
        rows: as `assigned` gives them.
        folder: an empty folder to write to.
        size: rows a file, at most.

    Raises:
        SourceError: a fold would have nothing to train on, to validate with or to answer; the shards hold other rows.
    """
    whole = read_manifest(shards)
    folds = [int(fold) for fold in sorted(rows["fold"].unique())]
    for fold in folds:
        _require_rows(rows, fold)
    if sum(whole["rows"].values()) != len(rows):
        raise SourceError(f"{shards} holds {sum(whole['rows'].values())} rows, not the {len(rows)} assigned to folds")
    units = dict(zip(rows["image_id"], rows["unit"], strict=True))
    files = {unit: _write_unit(shards, units, unit, folder / UNITS / unit, size) for unit in sorted(set(rows["unit"]))}
    for fold in folds:
        subsets = rows["unit"].map({unit: subset_of(unit, fold) for unit in files})
        of_fold = {name: rows[subsets == name] for name in SUBSETS}
        manifest = {
            **whole,
            "files": [
                {**entry, "file": f"../../{UNITS}/{entry['file']}", "subset": subset_of(unit, fold)}
                for unit, entries in files.items()
                for entry in entries
            ],
            "label_counts": {name: label_counts(subset) for name, subset in of_fold.items()},
            "rows": {name: len(subset) for name, subset in of_fold.items()},
        }
        write_json(folder / str(fold) / "shards" / MANIFEST, manifest)
    return folds


def _require_rows(rows: pd.DataFrame, fold: int) -> None:
    there = {subset_of(unit, fold) for unit in rows["unit"].unique()}
    if missing := [name for name in SUBSETS if name not in there]:
        raise SourceError(
            f"without fold {fold} there are no rows for {', '.join(missing)}; "
            "the data has too few groups for split.folds and crossvalidate.validation"
        )


def _write_unit(shards: Path, units: dict[str, str], unit: str, folder: Path, size: int) -> list[dict[str, Any]]:
    """Write the rows of one unit; what a manifest says of each file."""
    folder.mkdir(parents=True)
    count = sum(other == unit for other in units.values())
    mine = (row for row in _all_rows(shards) if units.get(row["image_id"]) == unit)
    formats = read_manifest(shards)["formats"]
    numbers = range(math.ceil(count / size))
    entries = [entry for number in numbers for entry in write_part(islice(mine, size), folder, number, formats)]
    written = sum(entry["rows"] for entry in entries) // len(formats)
    if written != count:
        raise SourceError(f"{shards} lacks {count - written} of the rows assigned to folds; run `dvc repro`")
    return entries


def _all_rows(shards: Path) -> Iterator[dict[str, Any]]:
    return chain.from_iterable(read_rows(shards, subset) for subset in SUBSETS)
