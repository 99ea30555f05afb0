"""Second-stage learners: heads learned anew on the features of a trained network, which itself stays as it is.

The features are those of the training pictures as they are served, unvaried. They are all that is held in memory, once
for all heads that start from the same ones.
"""

import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from faceline.errors import SettingsError
from faceline.learning import forest, inputs, oversampling
from faceline.learning.forest import Forest
from faceline.learning.forest_head import ForestHead
from faceline.learning.inputs import Subset
from faceline.learning.oversampling import Smote
from faceline.learning.recipe import NetworkSettings, Recipe

LARGEST = 4 << 30  # bytes that features may take


def require_room(model: keras.Model, entry: NetworkSettings, rows: int) -> None:
    """Refuse features of so many training rows that they would not fit into memory; SMOTE multiplies them.

    Raises:
        SettingsError: names the target, and how much its features would take.
    """
    for target, learner in entry.refit.learners.items():
        count = rows * len(oversampling.NAMES[target]) if isinstance(learner, Smote) else rows
        width = model.get_layer(target).input.shape[-1]
        require_memory(f"{entry.name}: refit.{target}", count, width)


def require_memory(what: str, rows: int, width: int) -> None:
    """Refuse features (rows, width), float32, that are larger than `LARGEST`; the error begins with `what` is for them.

    Raises:
        SettingsError: says how much they would take.
    """
    if rows * width * 4 > LARGEST:
        taken = f"{rows:,} rows of {width:,} features take {rows * width * 4 / 2**30:.1f} GiB"
        raise SettingsError(f"{what}: {taken}; at most {LARGEST / 2**30:.0f} GiB are allowed")


def refit(
    model: keras.Model, entry: NetworkSettings, recipe: Recipe, train: Subset, say: Callable[[str], None]
) -> keras.Model:
    """The trained network with the heads of `entry.refit` in the place of its own; `model` itself where there are none.

    Args:
        train: the rows to learn from; those whose label is missing are left out for that target.
        say: is told one line a head.
    """
    learners = entry.refit.learners
    sources = {target: model.get_layer(target).input for target in learners}
    forests: dict[str, keras.KerasTensor] = {}
    for source in {id(tensor): tensor for tensor in sources.values()}.values():
        targets = [target for target, tensor in sources.items() if tensor is source]
        features, labels = extract(keras.Model(model.input, source), recipe, train, targets)
        for target in targets:
            known = ~np.isnan(labels[target])
            begun, rows = time.monotonic(), (features[known], labels[target][known])
            learner = learners[target]
            if isinstance(learner, Forest):
                trees = forest.grow(learner, target, *rows, recipe.seed)
                forests[target] = ForestHead.of(trees, source.shape[-1], target)(source)
                told = f"a forest of {learner.trees} trees, {len(trees.values):,} nodes, {trees.size / 1e6:.2f} MB"
            else:
                weights = oversampling.learn_head(learner, target, *rows, recipe.seed)
                model.get_layer(target).set_weights(weights)
                told = "a head learned on oversampled features"
            say(f"{target} by {told}, {time.monotonic() - begun:.1f} s")
    return keras.Model(model.input, {**model.output, **forests}, name=model.name) if forests else model


def extract(
    network: keras.Model, recipe: Recipe, subset: Subset, targets: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What `network` answers for the pictures of a subset, float32 (n, d); labels (n,), NaN where one is missing."""
    features = np.empty((subset.rows, network.output_shape[-1]), np.float32)
    labels = {target: np.empty(subset.rows, np.float32) for target in targets}
    answer = tf.function(lambda pictures: network(pictures, training=False), reduce_retracing=True)
    start = 0
    for pictures, given, weights in inputs.judging(subset, recipe, targets):
        rows = slice(start, start + len(pictures))
        features[rows] = answer(pictures).numpy()  # Keras's predict has XLA compile it, once for each batch size
        for target in targets:
            labels[target][rows] = np.where(weights[target] > 0, given[target][:, 0], np.nan)
        start = rows.stop
    return features, labels
