"""Check every setting of the chosen dataset and recipe, and that the dataset's files are there, before any work.

Writes data/settings: `checked`, on which the first stages wait and whose content never changes, so that it reruns
nothing; and network.json, digests of what the chosen recipe's networks are made from: code, files of weights, a
teacher, the bundle it starts from. Training depends on it, so that a new network or teacher reruns no training of
another. Run it with `dvc repro settings`.
"""

from collections.abc import Collection
from importlib import import_module
from pathlib import Path

import click

from faceline.datasets.cleaning import CleanSettings
from faceline.datasets.ingestion import IngestSettings, require_raw
from faceline.datasets.records import ShardSettings
from faceline.datasets.sample.settings import SampleSettings
from faceline.datasets.splitting import SplitSettings
from faceline.errors import SettingsError
from faceline.evaluation.pictures import ReportSettings
from faceline.faces.cropping import CropSettings
from faceline.faces.detection import DetectSettings
from faceline.files import atomic_directory, digest, write_json
from faceline.gates.expectations import NAMES
from faceline.learning import networks
from faceline.learning.card import file_digests
from faceline.learning.devices import HardwareSettings
from faceline.learning.recipe import Recipe
from faceline.learning.teacher import read_answers
from faceline.parallel import ClusterSettings
from faceline.params import PARAMS, Settings, chosen, read_settings, section

TOP = (
    "dataset",
    "recipe",
    "cluster",
    "hardware",
    "sample",
    "datasets",
    "shard",
    "report",
    "crossvalidate",
    "suspects",
    "compare",
    "tune",
    "recipes",
)  # the sections of params.yaml
MADE = "sample"  # the dataset whose files the stage of that name makes

OF_A_DATASET: dict[str, type[Settings]] = {
    "ingest": IngestSettings,
    "clean": CleanSettings,
    "detect": DetectSettings,
    "crop": CropSettings,
    "split": SplitSettings,
}


def check(dataset: str, recipe: str) -> Recipe:
    """Read every setting in force; SettingsError names the first section with something wrong in it."""
    read_settings(ClusterSettings, "cluster")
    read_settings(HardwareSettings, "hardware")
    read_settings(SampleSettings, "sample")
    for stage, model in OF_A_DATASET.items():
        read_settings(model, "datasets", dataset, stage)
    for gate in NAMES:
        limits = import_module(f"faceline.gates.{gate}").GATE.limits
        read_settings(limits, "datasets", dataset, "gates", gate)
    read_settings(ShardSettings, "shard")
    read_settings(ReportSettings, "report")
    closed(TOP)
    closed([*OF_A_DATASET, "gates"], "datasets", dataset)
    closed(NAMES, "datasets", dataset, "gates")
    if "recipes" in section("datasets", dataset, "gates", "evaluate"):
        closed(section("recipes"), "datasets", dataset, "gates", "evaluate", "recipes")
    found = read_settings(Recipe, "recipes", recipe)
    require_scaling(found, recipe)
    return found


def require_scaling(recipe: Recipe, name: str) -> None:
    """Refuse pictures scaled otherwise than a network's weights want them, which would only train badly."""
    for entry in recipe.networks:
        given, wanted = recipe.of(entry).scaling, networks.scaling(entry.network)
        if wanted and given != wanted:
            raise SettingsError(
                f"{PARAMS}: recipes.{name}: scaling = {given!r} for {entry.network}; allowed: {wanted} "
                "(of one network among others: its own.scaling)"
            )


def closed(allowed: Collection[str], *keys: str) -> None:
    """Refuse a key of the section under `keys` that nothing would read, as a misspelt one."""
    for key in section(*keys):
        if key not in allowed:
            unknown = ".".join([*keys, str(key)])
            raise SettingsError(f"{PARAMS}: {unknown} is not a setting; allowed: {', '.join(allowed)}")


def teacher_digest(recipe: Recipe, name: str, teachers: Path) -> dict[str, str]:
    """The digest of the teacher of a recipe called `name`, as an entry of network.json; none where it has none.

    Raises:
        SettingsError: it is not in `teachers`, the folder that DVC watches.
        SourceError: it is a table, but not one of answers.
    """
    if recipe.distill is None:
        return {}
    path = recipe.distill.teacher
    if path.parent != teachers or not path.exists():
        there = ", ".join(sorted(str(file) for file in teachers.glob("*") if file.suffix != ".md")) or "none there yet"
        raise SettingsError(
            f"{PARAMS}: recipes.{name}.distill.teacher = {str(path)!r}: not a table or a bundle in {teachers} ({there})"
        )
    if path.is_file():
        read_answers(path)
    return {"teacher": digest(path)}


@click.command(help=__doc__)
@click.option("--raw", type=click.Path(path_type=Path), required=True, help="The folder of the datasets' files.")
@click.option("--teachers", type=click.Path(path_type=Path), required=True, help="The folder of recipes' teachers.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(raw: Path, teachers: Path, output: Path) -> None:
    """Check, write."""
    dataset, name = chosen()
    recipe = check(dataset, name)
    if dataset != MADE:
        require_raw(raw / dataset, read_settings(IngestSettings, "datasets", dataset, "ingest"))
    taught_by = teacher_digest(recipe, name, teachers)
    with atomic_directory(output) as folder:
        (folder / "checked").write_text("every setting is allowed\n", encoding="utf-8")
        digests = {
            member.name: networks.digest(member.settings.network, member.settings.parsed_arguments)
            for member in recipe.all_members
        }
        write_json(folder / "network.json", digests | taught_by | file_digests(recipe))
    click.echo(f"dataset {dataset}, recipe {name}: every setting is allowed")


if __name__ == "__main__":
    main()
