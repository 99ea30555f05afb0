"""Judge the bundle on the test shard.

Reads the test subset of data/shards, its groups in data/split, the bundle, and the counts of ingest, clean and crop;
writes data/evaluate (predictions.parquet: labels and answers side by side; summary.json), models/metrics.json and the
tables behind DVC's plots, models/plots/*.csv. Run it with `dvc repro evaluate`.
"""

from dataclasses import asdict
from pathlib import Path

import click
import pyarrow as pa
from rich.progress import track

from faceline.console import load_tensorflow, stderr
from faceline.datasets.crops import CropFormat
from faceline.datasets.records import read_manifest, read_rows
from faceline.datasets.summary import summarize
from faceline.datasets.tables import PREDICTIONS, REJECTED
from faceline.evaluation.grouping import grouped
from faceline.evaluation.judged import Judged
from faceline.evaluation.metrics import BY_GROUP, Constants, coverage, evaluate
from faceline.evaluation.plots import PLOTS
from faceline.evaluation.wording import gaps, headlines
from faceline.files import atomic_directory, digest, read_json, write_json, write_table
from faceline.gates.passes import require_pass
from faceline.learning import predicting
from faceline.learning.card import CARD

SUBSET = "test"


def _kept(folder: Path) -> int:
    return int(read_json(folder / "summary.json")["kept"])


def _write_plots(folder: Path, predictions: pa.Table) -> None:
    judged = Judged.of(predictions)
    with atomic_directory(folder) as partial:
        for name, plot in PLOTS.items():
            plot(judged).to_csv(partial / f"{name}.csv", index=False, lineterminator="\n")


@click.command(help=__doc__)
@click.option("--bundle", type=click.Path(path_type=Path), required=True, help="The folder of the model bundle.")
@click.option("--shards", type=click.Path(path_type=Path), required=True, help="The folder of the shards.")
@click.option("--split", type=click.Path(path_type=Path), required=True, help="The folder of the assignment.")
@click.option("--ingest", type=click.Path(path_type=Path), required=True, help="The folder of the ingested tables.")
@click.option("--clean", type=click.Path(path_type=Path), required=True, help="The folder of the kept rows.")
@click.option("--crop", type=click.Path(path_type=Path), required=True, help="The folder of the crops.")
@click.option("--gates", type=click.Path(path_type=Path), required=True, help="The folder of the gates' passes.")
@click.option("--metrics", type=click.Path(path_type=Path), required=True, help="The file of metrics to write.")
@click.option("--plots", type=click.Path(path_type=Path), required=True, help="The folder of plots' tables to write.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(
    *,
    bundle: Path,
    shards: Path,
    split: Path,
    ingest: Path,
    clean: Path,
    crop: Path,
    gates: Path,
    metrics: Path,
    plots: Path,
    output: Path,
) -> None:
    """Read, predict, write."""
    tables = {"ingest": ingest, "clean": clean, "crop": crop, "split": split, "shard": shards, "train": bundle}
    for gate, table in tables.items():
        require_pass(gates, gate, table)
    load_tensorflow()
    from faceline.learning.answering import CropPredictor

    predictor = CropPredictor(bundle)
    manifest = read_manifest(shards)
    batches = -(-manifest["rows"][SUBSET] // predicting.BATCH)
    rows, crops = read_rows(shards, SUBSET), CropFormat.of(manifest)
    answered = predicting.predictions(rows, crops, predictor.predict_crops)
    parts = list(track(answered, "evaluate", total=batches, console=stderr()))
    predictions = grouped(pa.concat_tables([PREDICTIONS.empty_table(), *parts]), split)
    learnt = predictor.card.constants
    constants = Constants(age_median=learnt.age_median, gender_majority=learnt.gender, race_majority=learnt.race)
    temperatures = predictor.card.temperatures
    measured = evaluate(predictions, constants, temperatures)
    measured["coverage"] = coverage(readable=_kept(ingest), cleaned=_kept(clean), judged=_kept(crop))
    with atomic_directory(output) as folder:
        write_table(folder / "predictions.parquet", predictions, PREDICTIONS)
        counts = summarize(len(predictions), len(predictions), REJECTED.empty_table())
        told = {"constants": asdict(constants), "temperatures": temperatures, "metrics": measured}
        judged = {"bundle": digest(bundle / CARD)}  # the report says nothing of another one
        write_json(folder / "summary.json", {**counts, **judged, **told})
    # Groups would make `dvc metrics show` hundreds of columns wide; the report and the model card have them.
    write_json(metrics, {name: value for name, value in measured.items() if name not in BY_GROUP})
    _write_plots(plots, predictions)
    for line in (*headlines(measured), *gaps(measured)):
        click.echo(line)


if __name__ == "__main__":
    main()
