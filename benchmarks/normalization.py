"""What fused batch normalization brings: pictures a second of training, with Keras's layers and with ours.

Both take turns on random pictures in memory, with the compact network of some widths and sizes, each pair in one
process. Prints medians over the rounds and their ratio.

    python -m benchmarks.normalization --network 32x96 --network 24x64 --json
"""

import json
import statistics
import time
from typing import TYPE_CHECKING

import click

from faceline.console import load_tensorflow

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

BATCH = 128  # pictures
WARM_UP = 3  # batches


def network(width: int, size: int) -> "keras.Model":
    """The compact network with a head for age, on pictures of `size` pixels."""
    import keras

    from faceline.datasets.labels import AGE_BINS
    from faceline.learning.networks import compact

    image = keras.Input((size, size, 3))
    features = compact.build(image, ("age",), compact.Arguments(width=width))["age"]
    return keras.Model(image, keras.layers.Dense(AGE_BINS, activation="softmax", dtype="float32")(features))


def rate(model: "keras.Model", batches: "tf.data.Dataset", steps: int) -> float:
    """Pictures a second over so many steps."""
    started = time.perf_counter()
    model.fit(batches, steps_per_epoch=steps, verbose=0)
    return steps * BATCH / (time.perf_counter() - started)


def compare(width: int, size: int, steps: int, rounds: int) -> dict[str, float]:
    """Pictures a second by the kind of layer, and their ratio."""
    import keras
    import tensorflow as tf

    from faceline.learning.normalization import fused

    pictures = tf.random.stateless_uniform((BATCH, size, size, 3), [1, 2], -1.0, 1.0)
    batches = tf.data.Dataset.from_tensors((pictures, tf.zeros((BATCH,), tf.int32))).repeat()
    plain = network(width, size)
    models = {"keras": plain, "ours": fused(plain)}
    for model in models.values():
        model.compile("adam", "sparse_categorical_crossentropy")
        rate(model, batches, WARM_UP)
    rates: dict[str, list[float]] = {kind: [] for kind in models}
    for _ in range(rounds):
        for kind, model in models.items():
            rates[kind].append(rate(model, batches, steps))
    keras.backend.clear_session()
    medians = {kind: round(statistics.median(values), 1) for kind, values in rates.items()}
    return {**medians, "times": round(medians["ours"] / medians["keras"], 2)}


@click.command(help=__doc__)
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="WIDTHxPIXELS",
    default=("32x96", "24x64", "6x48"),
    show_default=True,
)
@click.option("--precision", default="mixed_bfloat16", show_default=True, help="Keras's dtype policy.")
@click.option("--steps", type=click.IntRange(min=1), default=8, show_default=True, help="Batches of a turn.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Turns that each takes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def main(networks: tuple[str, ...], precision: str, steps: int, rounds: int, as_json: bool) -> None:
    """Build, take turns, compare."""
    load_tensorflow()
    import keras

    keras.config.set_dtype_policy(precision)
    found = {}
    for name in networks:
        width, _, size = name.partition("x")
        if not (width.isdigit() and size.isdigit()):
            raise click.BadParameter(f"{name}: must be a width and pixels, as 32x96", param_hint="--network")
        found[name] = compare(int(width), int(size), steps, rounds)
    if as_json:
        return click.echo(json.dumps({"precision": precision, "pictures_per_second": found}, indent=2))
    for name, rates in found.items():
        click.echo(f"{name:8} {rates['keras']:8.1f} by Keras, {rates['ours']:8.1f} by ours: {rates['times']:.2f} times")
    return None


if __name__ == "__main__":
    main()
