"""Check every setting of the chosen dataset and recipe before any work.

Writes data/settings: `checked`, on which the first stages wait and whose content never changes, so that it reruns
nothing; and network.json, the code of the chosen recipe's networks as digests, on which training depends (so that a new
network reruns no training of another). Run it with `dvc repro settings`.
"""

from importlib import import_module
from pathlib import Path

import click

from faceline.datasets.cleaning import CleanSettings
from faceline.datasets.ingestion import IngestSettings
from faceline.datasets.records import ShardSettings
from faceline.datasets.sample.settings import SampleSettings
from faceline.datasets.splitting import SplitSettings
from faceline.evaluation.pictures import ReportSettings
from faceline.faces.cropping import CropSettings
from faceline.faces.detection import DetectSettings
from faceline.files import atomic_directory, write_json
from faceline.gates.expectations import NAMES
from faceline.learning import networks
from faceline.learning.recipe import Recipe
from faceline.params import Settings, chosen, read_settings

OF_A_DATASET: dict[str, type[Settings]] = {
    "ingest": IngestSettings,
    "clean": CleanSettings,
    "detect": DetectSettings,
    "crop": CropSettings,
    "split": SplitSettings,
}


def check(dataset: str, recipe: str) -> Recipe:
    """Read every setting in force; SettingsError names the first section with something wrong in it."""
    read_settings(SampleSettings, "sample")
    for stage, model in OF_A_DATASET.items():
        read_settings(model, "datasets", dataset, stage)
    for gate in NAMES:
        limits = import_module(f"faceline.gates.{gate}").GATE.limits
        read_settings(limits, "datasets", dataset, "gates", gate)
    read_settings(ShardSettings, "shard")
    read_settings(ReportSettings, "report")
    return read_settings(Recipe, "recipes", recipe)


@click.command(help=__doc__)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(output: Path) -> None:
    """Check, write."""
    dataset, name = chosen()
    recipe = check(dataset, name)
    with atomic_directory(output) as folder:
        (folder / "checked").write_text("every setting is allowed\n", encoding="utf-8")
        used = sorted({entry.network for entry in recipe.networks})
        write_json(folder / "network.json", {network: networks.source_digest(network) for network in used})
    click.echo(f"dataset {dataset}, recipe {name}: every setting is allowed")


if __name__ == "__main__":
    main()
