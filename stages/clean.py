"""Keep the rows whose labels can be trusted, and say of every other row why not.

Reads data/ingest (labels and overrides), writes data/clean: kept.parquet, rejected.parquet (one reason a row),
near_identical.parquet (pairs of twins, and whether their labels contradict) and summary.json.
Run it with `dvc repro clean`.
"""

from pathlib import Path

import click
import numpy as np
import pandas as pd
import pyarrow as pa

from faceline.datasets.cleaning import (
    CleanSettings,
    Verdict,
    apply_overrides,
    judge_labels,
    limit,
    near_identical_contradictions,
)
from faceline.datasets.duplicates import near_identical
from faceline.datasets.summary import summarize, told
from faceline.datasets.tables import KEPT, NEAR_IDENTICAL, REJECTED, THUMBNAIL
from faceline.files import atomic_directory, read_table, write_json, write_table
from faceline.gates.passes import require_pass
from faceline.params import chosen, read_settings


def clean(labels: pa.Table, overrides: pa.Table, settings: CleanSettings) -> tuple[Verdict, pa.Table]:
    """The verdict on every row of `labels`, and the table of near-identical pairs among those that the rules keep."""
    known_wrong = overrides.to_pandas()
    rows = apply_overrides(_frame(labels), known_wrong)
    verdict = judge_labels(rows, known_wrong, settings)
    twins = _near_identical(verdict, settings)
    limit(verdict, settings)
    return verdict, twins


def _near_identical(verdict: Verdict, settings: CleanSettings) -> pa.Table:
    rule = settings.near_identical
    kept = verdict.rows[verdict.kept]
    thumbnails = np.frombuffer(b"".join(kept["thumbnail"]), np.uint8).reshape(len(kept), THUMBNAIL * THUMBNAIL)
    pairs = near_identical(kept["phash"].to_numpy(np.uint64), thumbnails, rule, kept["path"].to_list())
    contradicting = near_identical_contradictions(kept, pairs, rule.age_tolerance)
    if rule.contradicting == "reject":
        wrong = np.unique(np.concatenate([pairs.first[contradicting], pairs.second[contradicting]]))
        mask = pd.Series(verdict.rows.index.isin(kept.index[wrong]), verdict.rows.index)
        verdict.reject(mask, "contradicting_twin", "a near-identical picture has other labels")
    ids = kept["image_id"].to_numpy()
    columns = [ids[pairs.first], ids[pairs.second], pairs.distance, pairs.correlation, contradicting]
    return pa.table(dict(zip(NEAR_IDENTICAL.names, columns, strict=True)), NEAR_IDENTICAL)


def _frame(labels: pa.Table) -> pd.DataFrame:
    """Labels as a data frame with nullable integers, so that a missing label stays an integer's null."""
    frame: pd.DataFrame = labels.to_pandas()
    return frame.astype({"age": "Int16", "gender": "Int8", "race": "Int8"})


@click.command(help=__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), required=True, help="The folder of the ingested tables.")
@click.option("--gates", type=click.Path(path_type=Path), required=True, help="The folder of the gates' passes.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(ingest: Path, gates: Path, output: Path) -> None:
    """Read, clean, write."""
    settings = read_settings(CleanSettings, "datasets", chosen()[0], "clean")
    require_pass(gates, "ingest", ingest)
    labels, overrides = read_table(ingest / "labels.parquet"), read_table(ingest / "overrides.parquet")
    verdict, twins = clean(labels, overrides, settings)
    rejected = verdict.rows.assign(reason=verdict.reason, detail=verdict.detail)[~verdict.kept]
    rejected_table = pa.Table.from_pandas(rejected[REJECTED.names], REJECTED, preserve_index=False)
    kept = pa.Table.from_pandas(verdict.rows.loc[verdict.kept, KEPT.names], KEPT, preserve_index=False)
    overridden = int(labels.column("path").to_pandas().isin(overrides.column("path").to_pylist()).sum())
    contradicting = int(np.count_nonzero(twins.column("contradicting").to_numpy()))
    summary = summarize(
        len(labels),
        len(kept),
        rejected_table,
        skipped=verdict.skipped,
        overrides_applied=overridden,
        near_identical={"pairs": len(twins), "contradicting": contradicting},
    )
    with atomic_directory(output) as folder:
        write_table(folder / "kept.parquet", kept, KEPT)
        write_table(folder / "rejected.parquet", rejected_table, REJECTED)
        write_table(folder / "near_identical.parquet", twins, NEAR_IDENTICAL)
        write_json(folder / "summary.json", summary)
    click.echo(told("clean", summary))
    for rule, column in verdict.skipped.items():
        click.echo(f"  rule {rule} is skipped: the sources have no {column}")


if __name__ == "__main__":
    main()
