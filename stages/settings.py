"""Check every setting of the chosen dataset and recipe, and that the dataset's files are there, before any work.

Writes data/settings: `checked`, on which the first stages wait and whose content never changes, so that it reruns
nothing; and network.json, the code of the chosen recipe's networks as digests, on which training depends (so that a new
network reruns no training of another). Run it with `dvc repro settings`.
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
from faceline.files import atomic_directory, write_json
from faceline.gates.expectations import NAMES
from faceline.learning import networks
from faceline.learning.recipe import Recipe
from faceline.parallel import ClusterSettings
from faceline.params import PARAMS, Settings, chosen, read_settings, section

TOP = (
    "dataset",
    "recipe",
    "cluster",
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
    return read_settings(Recipe, "recipes", recipe)


def closed(allowed: Collection[str], *keys: str) -> None:
    """Refuse a key of the section under `keys` that nothing would read, as a misspelt one."""
    for key in section(*keys):
        if key not in allowed:
            unknown = ".".join([*keys, str(key)])
            raise SettingsError(f"{PARAMS}: {unknown} is not a setting; allowed: {', '.join(allowed)}")


@click.command(help=__doc__)
@click.option("--raw", type=click.Path(path_type=Path), required=True, help="The folder of the datasets' files.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(raw: Path, output: Path) -> None:
    """Check, write."""
    dataset, name = chosen()
    recipe = check(dataset, name)
    if dataset != MADE:
        require_raw(raw / dataset, read_settings(IngestSettings, "datasets", dataset, "ingest"))
    with atomic_directory(output) as folder:
        (folder / "checked").write_text("every setting is allowed\n", encoding="utf-8")
        used = sorted({entry.network for entry in recipe.networks})
        write_json(folder / "network.json", {network: networks.source_digest(network) for network in used})
    click.echo(f"dataset {dataset}, recipe {name}: every setting is allowed")


if __name__ == "__main__":
    main()
