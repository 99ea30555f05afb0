"""The whole of a bundle as one graph: from crops, as they lie in memory, to the numbers that `CropPredictor` gives.

Resizing, scaling, the mirror image, temperatures and the interval of age are part of it, so whoever runs the graph has
nothing to do again, and nothing to do differently.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from faceline.datasets.labels import AGE_BINS
from faceline.errors import ExportError
from faceline.export.graph import Graph, graph
from faceline.learning.answering import SUREST, load_network, run
from faceline.learning.card import AgeInterval, Card, Input, read_card
from faceline.learning.forest import Forest
from faceline.learning.pixels import resized, scaled
from faceline.learning.targets import AgeAnswers
from faceline.probabilities import SMALLEST

NAME = "predictor"
BINS = np.arange(AGE_BINS, dtype=np.float32)  # years


def predictor_graph(bundle: Path) -> Graph:
    """A graph from `crops`, uint8 (n, size, size, 3) of the card's crop size, to the bundle's answers, float32.

    Outputs, each only where the bundle has that target: `age`, `age_low` and `age_high` (n,) in years, the bounds only
    where the card has an interval; `female_probability` (n,); `race_probabilities` (n, 5).

    Raises:
        BundleError: a file is missing or altered, or the card is of another version.
        ExportError: a head is a random forest.
    """
    card = read_card(bundle)
    _no_forests(card)
    networks = [(load_network(bundle, file), file.input) for file in card.networks]
    side = card.crop.size
    weights = {file.input.size: resize_weights(side, file.input.size) for file in card.networks}

    def answer(crops: tf.Tensor) -> dict[str, tf.Tensor]:
        def prepared(given: Input) -> tf.Tensor:
            return scaled(_resized(crops, weights[given.size]), given.channels == 1, given.scaling)

        return _answers(run(networks, prepared, card.flip_averaging), card)

    return graph(NAME, tf.TensorSpec((None, side, side, 3), tf.uint8, "crops"), answer)


def resize_weights(side: int, size: int) -> np.ndarray:
    """The matrix (size, side) by which `pixels.resized` makes `size` rows of `side` rows.

    Each column is what becomes of a single bright row. No converter knows the operation that TensorFlow resizes by.
    """
    rows = np.eye(side, dtype=np.float32)[:, :, None, None]  # a picture each
    wide = np.broadcast_to(rows, (side, side, side, 1))
    return np.asarray(resized(wide, size)[:, :, 0, 0]).T


def _no_forests(card: Card) -> None:
    learners = [item for entry in card.recipe.settings.networks for item in entry.refit.learners.items()]
    forests = [name for name, learner in learners if isinstance(learner, Forest)]
    if forests:
        raise ExportError(f"the head of {', '.join(forests)} is a random forest, which no other format can hold")


def _resized(crops: tf.Tensor, weights: np.ndarray) -> tf.Tensor:
    """`pixels.resized` as two products with a constant matrix: of the rows, then of the columns."""
    size, side = weights.shape
    pictures = tf.cast(crops, tf.float32)
    if side == size:
        return pictures
    rows = _product(weights, tf.reshape(pictures, [-1, side, side * 3]))
    return tf.reshape(_product(weights, tf.reshape(rows, [-1, side, 3])), [-1, size, size, 3])


def _product(weights: np.ndarray, values: tf.Tensor) -> tf.Tensor:
    """The product with two matrices that add up to `weights` and which float16 holds: files may store constants so."""
    coarse = weights.astype(np.float16).astype(np.float32)
    fine = (weights - coarse).astype(np.float16).astype(np.float32)
    return tf.matmul(coarse, values) + tf.matmul(fine, values)


def _answers(outputs: Mapping[str, tf.Tensor], card: Card) -> dict[str, tf.Tensor]:
    """`answering.answers_of` in TensorFlow."""
    found: dict[str, tf.Tensor] = {}
    if "age" in outputs:
        kind = card.recipe.settings.age_answers
        found["age"] = years = _years(outputs["age"], kind, card.temperatures.get("age", 1.0))
        if card.age_interval:
            half = _half_widths(outputs["age"], kind, card.age_interval)
            found["age_low"], found["age_high"] = tf.maximum(years - half, 0), years + half
    if "gender" in outputs:
        female = outputs["gender"]
        both = tf.concat([1 - female, female], axis=1)
        found["female_probability"] = _tempered(both, card.temperatures.get("gender", 1.0))[:, 1]
    if "race" in outputs:
        found["race_probabilities"] = _tempered(outputs["race"], card.temperatures.get("race", 1.0))
    return found


def _years(outputs: tf.Tensor, kind: AgeAnswers, temperature: float) -> tf.Tensor:
    """`heads.years`."""
    if kind == "number":
        ages = outputs[:, 0]
    elif temperature != 1:
        ages = tf.reduce_sum(_tempered(_distribution(outputs, kind), temperature) * BINS, axis=1)
    else:
        ages = tf.reduce_sum(outputs if kind == "ordinal" else outputs * BINS, axis=1)
    return tf.maximum(ages, 0)


def _half_widths(outputs: tf.Tensor, kind: AgeAnswers, interval: AgeInterval) -> tf.Tensor:
    """`answering.half_widths`."""
    if kind == "number" or not interval.typical_deviation:
        return tf.ones_like(outputs[:, 0]) * interval.half_width
    shares = _distribution(outputs, kind)
    means = tf.reduce_sum(shares * BINS, axis=1, keepdims=True)
    # About the mean: the difference of two large squares would lose most digits of a float32.
    deviations = tf.sqrt(tf.reduce_sum(shares * tf.square(BINS - means), axis=1))
    return interval.half_width * (deviations + SUREST) / (interval.typical_deviation + SUREST)


def _distribution(outputs: tf.Tensor, kind: AgeAnswers) -> tf.Tensor:
    """`heads.distribution`, of what is no number."""
    if kind == "distribution":
        return outputs
    certain = tf.ones_like(outputs[:, :1])
    edges = tf.concat([certain, outputs, tf.zeros_like(certain)], axis=1)
    falls = tf.maximum(edges[:, :-1] - edges[:, 1:], 0)
    return falls / tf.reduce_sum(falls, axis=1, keepdims=True)


def _tempered(probabilities: tf.Tensor, temperature: float) -> tf.Tensor:
    """`probabilities.tempered`."""
    return tf.nn.softmax(tf.math.log(tf.clip_by_value(probabilities, SMALLEST, 1)) / temperature, axis=1)
