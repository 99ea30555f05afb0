"""Judge the bundle on the test shard.

Reads the test subset of data/shards, the bundle, and the counts of ingest, clean and crop; writes data/evaluate
(predictions.parquet: labels and answers side by side; summary.json), models/metrics.json and the tables behind DVC's
plots, models/plots/*.csv. Run it with `dvc repro evaluate`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rich.progress import track

from faceline.console import load_tensorflow, stderr
from faceline.datasets.records import read_manifest, read_rows
from faceline.datasets.summary import summarize
from faceline.datasets.tables import PREDICTIONS, REJECTED
from faceline.evaluation.judged import Judged
from faceline.evaluation.metrics import BY_GROUP, Constants, coverage, evaluate
from faceline.evaluation.plots import PLOTS
from faceline.evaluation.wording import gaps, headlines
from faceline.faces.decoding import PIXELS_LIMIT, decode
from faceline.files import atomic_directory, read_json, write_json, write_table
from faceline.gates.passes import require_pass

if TYPE_CHECKING:  # the bundle imports TensorFlow, which prints its banner unless it is loaded quietly
    from faceline.learning.answering import Answers

SUBSET = "test"
BATCH = 256  # crops decoded at a time; bounds the memory, does not change the answers
LABELS = ("image_id", "age", "gender", "race")


def predict(rows: Iterable[dict[str, Any]], answer: Callable[[npt.NDArray[np.uint8]], "Answers"]) -> Iterator[pa.Table]:
    """Tables with schema PREDICTIONS, a batch each, for rows with schema SHARD.

    Args:
        rows: of a shard, in order.
        answer: maps crops, uint8 (N, S, S, 3), to the network's answers.
    """
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH)):
        crops = np.stack([decode(row["png"], max_pixels=PIXELS_LIMIT) for row in batch])
        yield side_by_side(batch, answer(crops))


def side_by_side(rows: list[dict[str, Any]], answers: "Answers") -> pa.Table:
    """Labels of N rows beside the N answers; what the bundle does not answer is null."""
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in LABELS}
    columns["age_predicted"] = _column(answers.age, len(rows))
    columns["female_probability"] = _column(answers.female_probability, len(rows))
    columns["race_probabilities"] = _column(answers.race_probabilities, len(rows))
    for name, bounds in (("age_low", answers.age_low), ("age_high", answers.age_high)):
        # A bundle without an interval says NaN; an answer of NaN stays one, so that it shows.
        columns[name] = (
            pa.nulls(len(rows), pa.float32()) if bounds is None else pa.array(bounds, pa.float32(), from_pandas=True)
        )
    return pa.table(columns, PREDICTIONS)


def _column(answers: npt.NDArray[np.float32] | None, rows: int) -> list[Any]:
    return [None] * rows if answers is None else list(answers)


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
    ingest: Path,
    clean: Path,
    crop: Path,
    gates: Path,
    metrics: Path,
    plots: Path,
    output: Path,
) -> None:
    """Read, predict, write."""
    for gate, table in (("ingest", ingest), ("clean", clean), ("crop", crop), ("shard", shards), ("train", bundle)):
        require_pass(gates, gate, table)
    load_tensorflow()
    from faceline.learning.answering import CropPredictor

    predictor = CropPredictor(bundle)
    batches = -(-read_manifest(shards)["rows"][SUBSET] // BATCH)
    answered = predict(read_rows(shards, SUBSET), predictor.predict_crops)
    tables = list(track(answered, "evaluate", total=batches, console=stderr()))
    predictions = pa.concat_tables([PREDICTIONS.empty_table(), *tables])
    learnt = predictor.card.constants
    constants = Constants(age_median=learnt.age_median, gender_majority=learnt.gender, race_majority=learnt.race)
    temperatures = predictor.card.temperatures
    measured = evaluate(predictions, constants, temperatures)
    measured["coverage"] = coverage(readable=_kept(ingest), cleaned=_kept(clean), judged=_kept(crop))
    with atomic_directory(output) as folder:
        write_table(folder / "predictions.parquet", predictions, PREDICTIONS)
        counts = summarize(len(predictions), len(predictions), REJECTED.empty_table())
        told = {"constants": asdict(constants), "temperatures": temperatures, "metrics": measured}
        write_json(folder / "summary.json", {**counts, **told})
    # Groups would make `dvc metrics show` hundreds of columns wide; the report and the model card have them.
    write_json(metrics, {name: value for name, value in measured.items() if name not in BY_GROUP})
    _write_plots(plots, predictions)
    for line in (*headlines(measured), *gaps(measured)):
        click.echo(line)


if __name__ == "__main__":
    main()
