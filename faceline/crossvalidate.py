"""k-fold cross-validation of the chosen recipe, step by step; the flow `crossvalidate` runs these one after another.

    python -m faceline.crossvalidate prepare        the shards of each fold, and a plan of what is to be done
    python -m faceline.crossvalidate answer FOLD    what the bundle of a fold says of the pictures that it has not seen
    python -m faceline.crossvalidate conclude       metrics by fold, their mean and deviation, and suspect labels

Between the first two stages/train.py trains on the shards of the fold. `prepare` reads the tables of clean, split and
shard, which must have passed their gates; work lies in data/store/crossvalidate, where what is finished is found again;
`conclude` writes data/crossvalidate: predictions.parquet, metrics.json, metrics.csv, suspects.parquet, suspects.csv.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pyarrow as pa
from rich.console import Console

from faceline.console import load_tensorflow
from faceline.datasets import folding
from faceline.datasets.crops import CropFormat
from faceline.datasets.folding import HELD_OUT, FoldSettings
from faceline.datasets.ingestion import IngestSettings
from faceline.datasets.records import MANIFEST, ShardSettings, read_manifest, read_rows
from faceline.datasets.tables import OUT_OF_FOLD, PREDICTIONS, SUSPECTS
from faceline.errors import SettingsError, SourceError
from faceline.evaluation import crossvalidation
from faceline.evaluation.grouping import grouped
from faceline.evaluation.suspects import SuspectSettings, proposals, suspects
from faceline.files import atomic_directory, atomic_file, read_json, read_table, sha256_file, write_json, write_table
from faceline.gates.passes import require_pass, write_pass
from faceline.learning import predicting
from faceline.learning.card import read_card
from faceline.learning.recipe import Recipe, recipe_digest
from faceline.learning.weighting import require_labels
from faceline.params import PARAMS, chosen, read_settings, section

STORE = Path("store/crossvalidate")
PLAN = STORE / "plan.json"


@click.group(help=__doc__)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    help="The folder of the stages' tables.",
)
@click.pass_context
def main(context: click.Context, data: Path) -> None:
    """The commands are below."""
    context.obj = data


@main.command()
@click.pass_obj
def prepare(data: Path) -> None:
    """Write the shards of each fold, unless they are there, and the plan."""
    settings = read_settings(FoldSettings, "crossvalidate")
    read_settings(SuspectSettings, "suspects")  # a mistake there shall not show after hours of training
    size = read_settings(ShardSettings, "shard").rows
    dataset, name = chosen()
    recipe = read_settings(Recipe, "recipes", name)
    require_unseen(recipe, name, dataset)
    shards = data / "shards"
    for gate, table in (("clean", data / "clean"), ("split", data / "split"), ("shard", shards)):
        require_pass(data / "gates", gate, table)
    folder = data / STORE / key(data, settings, size)
    if not folder.exists():
        rows = folding.assigned(data / "split", data / "clean", settings)
        with atomic_directory(folder) as partial:
            for fold in folding.write_folds(shards, rows, partial, size):
                # No row is new: these are the ones that passed the gate of the shards.
                write_pass(partial / str(fold) / "gates", "shard", partial / str(fold) / "shards")
    places = sorted(folder.glob("[0-9]*"), key=lambda place: int(place.name))
    for place in places:
        counts = read_manifest(place / "shards")["label_counts"]["train"]
        try:
            require_labels(recipe, name, counts)  # a later fold's fault shall not show after hours, either
        except SettingsError as error:
            raise SettingsError(f"without fold {place.name}: {error}") from None
    folds = [plan_of(place, recipe) for place in places]
    plan = {"dataset": dataset, "recipe": name, "recipe_digest": recipe_digest(recipe)}
    write_json(data / PLAN, {**plan, "shards": sha256_file(shards / MANIFEST), "folds": folds})
    done = sum(Path(fold["answers"]).exists() for fold in folds)
    click.echo(f"dataset {dataset}, recipe {name}: {len(folds)} folds, {done} of them done")


@main.command()
@click.argument("fold", type=int)
@click.pass_obj
def answer(data: Path, fold: int) -> None:
    """Ask the bundle of FOLD about the fold's pictures, and keep the answers in place of the bundle."""
    plan = read_plan(data)
    entry = next((entry for entry in plan["folds"] if entry["fold"] == fold), None)
    if entry is None:
        raise SourceError(f"{data / PLAN} has no fold {fold}")
    bundle = Path(entry["bundle"])
    require_planned(bundle, plan)
    load_tensorflow()
    from faceline.learning.answering import CropPredictor

    predictor = CropPredictor(bundle)
    shards = Path(entry["shards"])
    rows, crops = read_rows(shards, HELD_OUT), CropFormat.of(read_manifest(shards))
    tables = list(predicting.predictions(rows, crops, predictor.predict_crops))
    answered = grouped(pa.concat_tables([PREDICTIONS.empty_table(), *tables]), data / "split")
    write_table(Path(entry["answers"]), answered, PREDICTIONS)
    shutil.rmtree(bundle.parent)
    click.echo(f"fold {fold}: {answered.num_rows} pictures answered")


@main.command()
@click.pass_obj
def conclude(data: Path) -> None:
    """Put the answers of all folds together: metrics and suspect labels."""
    plan, settings = read_plan(data), read_settings(SuspectSettings, "suspects")
    tables = read_answers(plan)
    whole = pa.concat_tables(
        [table.append_column("fold", pa.array([fold] * len(table), pa.int8())) for fold, table in tables.items()]
    ).sort_by("image_id")
    paths = paths_of(data, whole)
    reviewed = read_table(data / "ingest/overrides.parquet", ["path"])["path"].to_pylist()
    found = suspects(whole, paths[~paths.isin(reviewed)], settings)
    metrics = crossvalidation.across_folds(tables)
    with atomic_directory(data / "crossvalidate") as folder:
        write_table(folder / "predictions.parquet", whole, OUT_OF_FOLD)
        write_table(folder / "suspects.parquet", found, SUSPECTS)
        write_csv(folder / "suspects.csv", proposals(found))
        write_csv(folder / "metrics.csv", crossvalidation.frame(metrics))
        write_json(
            folder / "metrics.json", {**metrics, **{name: plan[name] for name in ("dataset", "recipe", "shards")}}
        )
    Console(width=100).print(crossvalidation.table(metrics))
    click.echo(f"{found.num_rows} suspect labels in {data / 'crossvalidate' / 'suspects.csv'}")


def require_unseen(recipe: Recipe, name: str, dataset: str) -> None:
    """Refuse a recipe whose networks learn from others that may have seen the pictures of any fold.

    Raises:
        SettingsError: it has a teacher, or starts from a bundle trained on this dataset or another with a file of the
            same name, or from one that learned from others itself.
    """
    if recipe.distill is not None:
        raise SettingsError(f"recipes.{name}.distill: the teacher may have seen the pictures of any fold; do without")
    if recipe.start is None:
        return
    card = read_card(Path(recipe.start))
    before = card.recipe.settings
    if card.dataset == dataset or files_of(card.dataset) & files_of(dataset):
        raise SettingsError(f"recipes.{name}.start: {recipe.start} has seen pictures of {dataset}, so of any fold")
    if before.start is not None or before.distill is not None:
        told = "learned from another bundle, which may have seen the pictures of any fold"
        raise SettingsError(f"recipes.{name}.start: {recipe.start} {told}")


def files_of(dataset: str) -> set[str]:
    """The names of the files that a dataset of params.yaml is read from; none of one that is not there."""
    if dataset not in section("datasets"):
        return set()
    sources = read_settings(IngestSettings, "datasets", dataset, "ingest").sources
    return {source.file for source in sources if source.reader != "manifest"}  # whose names say nothing


def key(data: Path, settings: FoldSettings, size: int) -> str:
    """The name in the store of the folds' shards: they follow from these tables, settings and code."""
    files = [data / "shards" / MANIFEST, data / "split/assignment.parquet", data / "clean/kept.parquet"]
    parts = [*map(sha256_file, [*files, Path(folding.__file__)]), settings.model_dump_json(), size]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def plan_of(place: Path, recipe: Recipe) -> dict[str, Any]:
    """What there is to do for the fold in a folder of the store, and where: paths as text."""
    load_tensorflow()
    from faceline.learning import training

    shards = place / "shards"
    trained = place / training.checkpoints(Path(), shards, recipe).name  # named by shards, recipe and code
    paths = {"shards": shards, "gates": place / "gates", "answers": trained.with_suffix(".parquet")}
    paths |= {"bundle": trained / "bundle", "history": trained / "history.csv"}
    return {
        "fold": int(place.name),
        "rows": read_manifest(shards)["rows"],
        **{k: v.as_posix() for k, v in paths.items()},
    }


def read_plan(data: Path) -> dict[str, Any]:
    """The plan; SourceError where there is none."""
    if not (data / PLAN).exists():
        raise SourceError(f"{data / PLAN} is missing; run `python -m pipelines crossvalidate`")
    plan: dict[str, Any] = read_json(data / PLAN)
    return plan


def require_planned(bundle: Path, plan: dict[str, Any]) -> None:
    """Refuse a fold's bundle that was not trained as planned, and remove it: each training reads params.yaml anew.

    Raises:
        SettingsError: its recipe or dataset is another than the plan's.
    """
    card = read_card(bundle)
    if (card.dataset, card.recipe.digest) != (plan["dataset"], plan["recipe_digest"]):
        shutil.rmtree(bundle.parent)
        told = f"the settings in {PARAMS} changed during the run, and this fold was trained with the new ones"
        raise SettingsError(f"{told}; run it again")


def read_answers(plan: dict[str, Any]) -> dict[int, pa.Table]:
    """The predictions of each fold; SourceError names those that are missing."""
    missing = [str(entry["fold"]) for entry in plan["folds"] if not Path(entry["answers"]).exists()]
    if missing:
        raise SourceError(f"fold {', '.join(missing)} has no answers yet; run `python -m pipelines crossvalidate`")
    return {entry["fold"]: read_table(Path(entry["answers"])) for entry in plan["folds"]}


def paths_of(data: Path, predictions: pa.Table) -> "pd.Series[str]":
    """The path of each picture by image_id; SourceError unless every assigned one was answered exactly once."""
    assignment = read_table(data / "split/assignment.parquet", ["image_id"]).to_pandas()
    if sorted(assignment["image_id"]) != predictions["image_id"].to_pylist():
        raise SourceError(
            "the folds answered other pictures than are assigned now; run `python -m pipelines crossvalidate`"
        )
    kept = read_table(data / "clean/kept.parquet", ["image_id", "path"]).to_pandas()
    paths: pd.Series[str] = kept.set_index("image_id")["path"].loc[assignment["image_id"]]
    return paths


def write_csv(path: Path, rows: pd.DataFrame) -> None:
    """Write a table as CSV."""
    with atomic_file(path) as partial:
        rows.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")


if __name__ == "__main__":
    main()
