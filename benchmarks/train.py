"""What the input costs a training: seconds an epoch with it, and with synthetic batches that lie in memory.

Both take turns in one process with one network, that of a recipe: an epoch on the project's shards, streamed, decoded
and augmented, then as many steps on one random batch of the same shapes. Prints seconds an epoch, medians over the
rounds, and their ratio.

    python -m benchmarks.train --recipe compact-64 --json
"""

import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from faceline.console import load_tensorflow
from faceline.learning.recipe import Recipe
from faceline.params import read_settings

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def synthetic(real: "tf.data.Dataset", steps: int) -> "tf.data.Dataset":
    """One batch in memory, with the shapes and labels of a real one and noise for pictures, again and again."""
    import tensorflow as tf

    pictures, labels, weights = next(iter(real))
    noise = tf.random.stateless_uniform(tf.shape(pictures), [1, 2], -1.0, 1.0)
    return tf.data.Dataset.from_tensors((noise, labels, weights)).repeat(steps)


def epoch(model: "keras.Model", batches: "tf.data.Dataset", steps: int) -> float:
    """Seconds for so many steps of training."""
    started = time.perf_counter()
    model.fit(batches, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0)
    return time.perf_counter() - started


@click.command(help=__doc__)
@click.option("--shards", type=click.Path(path_type=Path), default=Path("data/shards"), show_default=True)
@click.option("--recipe", "name", default="compact-64", show_default=True, help="Its first network is trained.")
@click.option("--pictures", type=click.IntRange(min=1), help="Of a turn, about.  [default: all, once]")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Turns that each takes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def main(shards: Path, name: str, pictures: int | None, rounds: int, as_json: bool) -> None:
    """Build, take turns, compare."""
    load_tensorflow()
    from faceline.learning import devices, inputs, normalization, training

    whole, subset = read_settings(Recipe, "recipes", name), inputs.Subset.of(shards, "train")
    entry = whole.networks[0]
    recipe = whole.of(entry)
    size = recipe.batch_size
    steps = -(-pictures // size) if pictures else inputs.steps(subset, recipe)
    recipe = recipe.model_copy(update={"epochs": -(-steps // inputs.steps(subset, recipe))})
    real = inputs.training(subset, recipe, entry.targets.names, 0)
    sources = {"shards": real, "memory": synthetic(real, steps)}
    policy = devices.dtype_policy(recipe.precision)
    model = normalization.fused(training.build(entry, recipe, policy))
    training.compile_network(model, entry, recipe, steps)
    seconds: dict[str, list[float]] = {source: [] for source in sources}
    epoch(model, sources["memory"].take(2), 2)  # traces and warms up
    for _ in range(rounds):
        for source, batches in sources.items():
            seconds[source].append(epoch(model, batches, steps))
    medians = {source: round(statistics.median(values), 2) for source, values in seconds.items()}
    ratio = round(medians["shards"] / medians["memory"], 3)
    if as_json:
        about = {"recipe": name, "precision": policy, "pictures": steps * size, "batch_size": size}
        return click.echo(json.dumps({**about, "seconds_per_epoch": medians, "ratio": ratio}, indent=2))
    for source, median in medians.items():
        click.echo(f"{source:8} {median:8.2f} s for {steps * size} pictures ({policy})")
    return click.echo(f"the input costs {ratio:.3f} times")


if __name__ == "__main__":
    main()
