"""Train the networks of the chosen recipe and pack them as a bundle.

Reads data/shards and, from data/store, the checkpoint of a training that was killed; writes models/bundle
(the networks and card.json) and models/history.csv (a row an epoch: losses, metrics, learning rate).
Run it with `dvc repro train`. Where several machines train together, this is what the chief does; the others write
nothing (docs/operations.md).
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import pandas as pd

from faceline.console import load_tensorflow
from faceline.datasets.records import MANIFEST, read_manifest
from faceline.errors import SettingsError
from faceline.faces.cropping import CropSettings
from faceline.faces.detection import DetectSettings
from faceline.files import atomic_directory, atomic_file, sha256_file
from faceline.gates.passes import require_pass
from faceline.learning.card import Constants, DecodeSettings, Shards
from faceline.learning.devices import HardwareSettings
from faceline.learning.recipe import Recipe
from faceline.learning.weighting import require_labels
from faceline.params import chosen, parse_settings, read_settings, section

INGEST = ("max_pixels", "min_side")  # the settings of ingest that serving needs


def constants(counts: Mapping[str, Mapping[str, int]]) -> Constants:
    """What the constant predictor answers, from the label counts of train in the manifest."""
    known = {name: {int(label): n for label, n in of.items() if label != "unknown"} for name, of in counts.items()}
    ages = np.repeat(list(known["age"]), list(known["age"].values()))
    most = {name: min(found, key=lambda code: (-found[code], code), default=None) for name, found in known.items()}
    return Constants(
        age_mean=float(ages.mean()) if len(ages) else None,
        age_median=float(np.median(ages)) if len(ages) else None,
        gender=most["gender"],
        race=most["race"],
    )


def write_history(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a row an epoch as CSV; a metric that a network lacks is empty."""
    with atomic_file(path) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")


@click.command(help=__doc__)
@click.option("--shards", type=click.Path(path_type=Path), required=True, help="The folder of the shards.")
@click.option("--gates", type=click.Path(path_type=Path), required=True, help="The folder of the gates' passes.")
@click.option("--store", type=click.Path(path_type=Path), required=True, help="Where checkpoints lie; may be deleted.")
@click.option("--history", type=click.Path(path_type=Path), required=True, help="The table of epochs to write.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The bundle to write.")
def main(shards: Path, gates: Path, store: Path, history: Path, output: Path) -> None:
    """Read the settings, train, validate, write."""
    dataset, name = chosen()
    recipe = read_settings(Recipe, "recipes", name)
    detect = read_settings(DetectSettings, "datasets", dataset, "detect")
    crop = read_settings(CropSettings, "datasets", dataset, "crop")
    ingest = section("datasets", dataset, "ingest")
    needed = {key: ingest[key] for key in INGEST if key in ingest}
    decode = parse_settings(DecodeSettings, needed, f"datasets.{dataset}.ingest")
    require_pass(gates, "shard", shards)
    manifest = read_manifest(shards)
    if manifest["crop_size"] != crop.size:
        found = f"the crops in {shards} have {manifest['crop_size']} pixels a side"
        raise SettingsError(f"{found}, but datasets.{dataset}.crop.size is {crop.size}; run `dvc repro`")

    counts = manifest["label_counts"]["train"]
    require_labels(recipe, name, counts)
    hardware_settings = read_settings(HardwareSettings, "hardware")

    load_tensorflow()
    from faceline.learning import devices, training
    from faceline.learning.calibration import validate
    from faceline.learning.packing import write_bundle

    say = partial(click.echo, err=True)
    hardware = devices.choose(hardware_settings, recipe, say)
    checkpoints = training.checkpoints(store, shards, recipe)
    hardware.workers.require_same(hashlib.sha256(f"{checkpoints.name} {hardware.policy}".encode()).hexdigest())
    if not hardware.workers.chief:
        with TemporaryDirectory() as own:
            training.train(recipe, shards, Path(own), say, hardware)
        hardware.workers.wait()
        return

    trained = training.train(recipe, shards, checkpoints, say, hardware)
    validated = validate(trained, recipe, shards)
    with atomic_directory(output) as folder:
        write_bundle(
            folder,
            trained,
            recipe,
            name=name,
            dataset=dataset,
            licence=section("datasets", dataset, "ingest", "licence"),
            decode=decode,
            detect=detect,
            crop=crop,
            shards=Shards(digest=sha256_file(shards / MANIFEST), rows=manifest["rows"], crop_size=crop.size),
            constants=constants(counts),
            validation=validated.metrics,
            temperatures=validated.temperatures,
            age_interval=validated.age_interval,
            nonconformity=validated.nonconformity,
        )
        write_history(history, [row for network in trained for row in network.history])
    shutil.rmtree(checkpoints, ignore_errors=True)
    hardware.workers.wait()


if __name__ == "__main__":
    main()
