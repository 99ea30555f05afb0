"""Assign subjects and near-identical pictures, together, to train, validation, test and a fold.

Reads data/crop (which pictures are left) and data/clean (their subjects, hashes and labels), writes data/split:
assignment.parquet and summary.json. Run it with `dvc repro split`.
"""

from pathlib import Path
from typing import Any

import click
import pandas as pd
import pyarrow as pa

from faceline.datasets.labels import TARGETS
from faceline.datasets.splitting import SplitSettings, assign
from faceline.datasets.summary import summarize
from faceline.datasets.tables import ASSIGNMENT, REJECTED, SUBSETS
from faceline.files import atomic_directory, read_table, write_json, write_table
from faceline.gates.passes import require_pass
from faceline.params import chosen, read_settings


def label_means(rows: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Mean age, share of women and of each race by subset: how alike the subsets are; null where no label is known."""
    result: dict[str, dict[str, float | None]] = {}
    for subset in SUBSETS:
        mine = rows[rows["subset"] == subset]
        races = mine["race"].value_counts(normalize=True)
        values = {"age_mean": mine["age"].mean(), "female_share": mine["gender"].mean()}
        values |= {f"race_{code}_share": races.get(code, 0.0) for code in range(5)} if len(races) else {}
        result[subset] = {name: None if pd.isna(value) else round(float(value), 4) for name, value in values.items()}
    return result


def describe(assignment: pd.DataFrame, kept: pd.DataFrame, settings: SplitSettings) -> dict[str, Any]:
    """What the gate and the report want to know of a split."""
    sizes = assignment["group"].value_counts()
    rows = assignment.merge(kept[["image_id", *TARGETS]], on="image_id")
    return {
        "seed": settings.seed,
        "fractions": settings.fractions.model_dump(),
        "folds": settings.folds,
        "subsets": {subset: int((assignment["subset"] == subset).sum()) for subset in SUBSETS},
        "groups": len(sizes),
        "largest_group": int(sizes.max()) if len(sizes) else 0,
        "labels": label_means(rows),
    }


@click.command(help=__doc__)
@click.option("--clean", type=click.Path(path_type=Path), required=True, help="The folder of the kept rows.")
@click.option("--crop", type=click.Path(path_type=Path), required=True, help="The folder of the crops.")
@click.option("--gates", type=click.Path(path_type=Path), required=True, help="The folder of the gates' passes.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(clean: Path, crop: Path, gates: Path, output: Path) -> None:
    """Read, assign, write."""
    settings = read_settings(SplitSettings, "datasets", chosen()[0], "split")
    require_pass(gates, "clean", clean)
    require_pass(gates, "crop", crop)
    parts = (crop / "faces").glob("*.parquet")
    left = {image_id for part in parts for image_id in read_table(part, ["image_id"])["image_id"].to_pylist()}
    kept = read_table(clean / "kept.parquet").to_pandas()
    kept = kept[kept["image_id"].isin(left)]
    assignment = assign(kept, settings)
    with atomic_directory(output) as partial:
        table = pa.Table.from_pandas(assignment, ASSIGNMENT, preserve_index=False)
        write_table(partial / "assignment.parquet", table, ASSIGNMENT)
        summary = summarize(len(left), len(assignment), REJECTED.empty_table(), **describe(assignment, kept, settings))
        write_json(partial / "summary.json", summary)
    subsets = ", ".join(f"{name} {rows}" for name, rows in summary["subsets"].items())
    click.echo(f"split: {len(left)} rows in {summary['groups']} groups; {subsets}")


if __name__ == "__main__":
    main()
