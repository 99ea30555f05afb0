"""How fast training gets its pictures: decoded, augmented and batched, from shards, from loose files, from memory.

Four ways take turns on the same pictures, those of the training subset in the project's shards, with the recipe's input
size, batch size and flip, rotation, shear and zoom: this project's input from TFRecord and from Parquet; Keras's
`flow_from_dataframe` on loose files (as reference system B trained); and, as the limit, the same augmentation from an
array of decoded pictures in memory. Prints pictures a second, medians over the rounds.

    python -m benchmarks.input --json
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from faceline.console import load_tensorflow
from faceline.datasets.crops import CropFormat
from faceline.datasets.records import MANIFEST, WRITERS, read_manifest, read_rows, write_part
from faceline.faces.decoding import encode_png
from faceline.files import write_json
from faceline.learning.recipe import Recipe
from faceline.params import read_settings

SUBSET, TARGET = "train", "age"
WARM_UP = 4  # batches

Way = Callable[[], Iterable[Any]]  # batches without end, or enough of them


def ours(shards: Path, recipe: Recipe) -> Way:
    """The project's input from shards."""
    from faceline.learning import inputs

    subset = inputs.Subset.of(shards, SUBSET)
    return lambda: inputs.training(subset, recipe, (TARGET,), 0)


def array(crops: np.ndarray, ages: np.ndarray, recipe: Recipe) -> Way:
    """The same augmentation from pictures, uint8 (rows, side, side, 3), that lie decoded in memory."""
    import tensorflow as tf

    from faceline.learning.augmentation import augment
    from faceline.learning.pixels import scaled

    pictures, labels = tf.constant(crops), tf.constant(ages)

    def vary(number: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seed = tf.stack([tf.cast(recipe.seed, tf.int64), number])
        varied = augment(tf.gather(pictures, chosen), recipe.input_size, seed, recipe.augmentation)
        return scaled(varied, recipe.grey, recipe.scaling), tf.gather(labels, chosen)

    def batches() -> tf.data.Dataset:
        order = tf.data.Dataset.range(len(crops)).shuffle(len(crops), seed=recipe.seed).repeat(recipe.epochs)
        numbered = order.batch(recipe.batch_size, drop_remainder=True).enumerate()
        return numbered.map(vary, num_parallel_calls=tf.data.AUTOTUNE).prefetch(4)

    return batches


def loose_files(folder: Path, names: list[str], ages: np.ndarray, recipe: Recipe) -> Way:
    """Keras's `flow_from_dataframe`, as system B: files in a folder, varied one by one."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    varied, side = recipe.augmentation, recipe.input_size
    generator = ImageDataGenerator(
        rotation_range=varied.rotation,
        shear_range=varied.shear,
        zoom_range=varied.zoom,
        horizontal_flip=varied.flip,
        rescale=1 / 255,
    )
    table = pd.DataFrame({"file": names, TARGET: ages})
    with redirect_stdout(sys.stderr):  # Keras tells how many files it found
        flow = generator.flow_from_dataframe(
            table,
            directory=str(folder),
            x_col="file",
            y_col=TARGET,
            class_mode="raw",
            target_size=(side, side),
            batch_size=recipe.batch_size,
            seed=recipe.seed,
        )
    return lambda: flow  # without end, and nothing is fetched ahead


def prepare(shards: Path, folder: Path, recipe: Recipe) -> dict[str, Way]:
    """The ways by name, on copies of the training subset in `folder`."""
    rows, manifest = list(read_rows(shards, SUBSET)), read_manifest(shards)
    for form in WRITERS:
        (folder / form / SUBSET).mkdir(parents=True)
        files = write_part(rows, folder / form / SUBSET, 0, [form])
        write_json(folder / form / MANIFEST, {**manifest, "files": files, "formats": [form]})
    (folder / "loose").mkdir()
    names = [f"{row['image_id']}.png" for row in rows]
    ages = np.array([row[TARGET] or 0 for row in rows], np.int64)
    held = CropFormat.of(manifest)
    crops = np.stack([held.unpack(row["crop"]) for row in rows])
    for name, crop in zip(names, crops, strict=True):
        (folder / "loose" / name).write_bytes(encode_png(crop))
    return {
        **{form: ours(folder / form, recipe) for form in WRITERS},
        "loose_files": loose_files(folder / "loose", names, ages, recipe),
        "array": array(crops, ages, recipe),
    }


def measure(ways: dict[str, Way], batches: int, rounds: int, batch_size: int) -> dict[str, float]:
    """Pictures a second of each way, while it runs."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            rates[name].append(batches * batch_size / take(way, batches))
    return {name: round(statistics.median(values), 1) for name, values in rates.items()}


def take(way: Way, batches: int) -> float:
    """Seconds for so many batches, after a few that fill its buffers: they are as full when the clock stops."""
    source = iter(way())
    for _ in islice(source, WARM_UP):
        pass
    started = time.perf_counter()
    taken = sum(1 for _ in islice(source, batches))
    seconds = time.perf_counter() - started
    if taken < batches:
        raise click.ClickException(f"only {taken} of {batches} batches came")
    return seconds


@click.command(help=__doc__)
@click.option("--shards", type=click.Path(path_type=Path), default=Path("data/shards"), show_default=True)
@click.option("--recipe", "name", default="system-b-age", show_default=True, help="Size, batch and augmentation.")
@click.option("--pictures", type=click.IntRange(min=1), default=12000, show_default=True, help="Of a turn, about.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Turns that each way takes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def main(shards: Path, name: str, pictures: int, rounds: int, as_json: bool) -> None:
    """Copy the pictures, take turns, compare."""
    recipe = read_settings(Recipe, "recipes", name)
    if TARGET not in recipe.targets:
        raise click.BadParameter(f"{name} does not learn {TARGET}, whose labels are read", param_hint="--recipe")
    load_tensorflow()
    rows = read_manifest(shards)["rows"][SUBSET]
    size = min(recipe.batch_size, rows)
    batches = -(-pictures // size)
    recipe = recipe.model_copy(update={"batch_size": size, "epochs": -(-(batches + WARM_UP) // (rows // size))})
    with tempfile.TemporaryDirectory() as folder:
        rates = measure(prepare(shards, Path(folder), recipe), batches, rounds, size)
    slower = min(rates["tfrecord"], rates["parquet"])
    ratios = {"times_loose_files": slower / rates["loose_files"], "array_times_ours": rates["array"] / slower}
    result = {"recipe": name, "rows": rows, "pictures_per_second": rates} | {k: round(v, 2) for k, v in ratios.items()}
    if as_json:
        return click.echo(json.dumps(result, indent=2))
    for way, rate in rates.items():
        click.echo(f"{way:12} {rate:9.1f} pictures/s {rate / rates['loose_files']:6.1f}× loose files")
    return click.echo(f"the array is {ratios['array_times_ours']:.2f} times as fast as the slower of our two")


if __name__ == "__main__":
    main()
