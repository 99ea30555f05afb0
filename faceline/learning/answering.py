"""The networks of a bundle on crops of faces; `faceline.learning.bundle` makes the crops of a picture first."""

import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import tensorflow as tf

from faceline.datasets.labels import TARGETS
from faceline.datasets.tables import PREDICTIONS
from faceline.errors import BundleError
from faceline.files import sha256_file
from faceline.learning import heads
from faceline.learning.card import AgeInterval, Input, NetworkFile, read_card
from faceline.learning.forest_head import ForestHead
from faceline.learning.pixels import prepare
from faceline.learning.recipe import Recipe
from faceline.learning.targets import AgeAnswers
from faceline.probabilities import binary, tempered

BATCH = 16  # crops a call: large networks are no faster with more, and take more memory; small ones lose .2 ms a face
LAYERS = {"ForestHead": ForestHead, "Ordinal": heads.Ordinal}  # the project's own, which a network's file may name
SUREST = 1.0  # years added to a deviation: an answer may be sure and wrong, so no interval shrinks to a point


@dataclass(frozen=True)
class Answers:
    """Answers for n crops; None where the bundle has no such target.

    Attributes:
        age, age_low, age_high: years (n,) float32; the interval's coverage is in the card.
        female_probability: (n,) float32.
        race_probabilities: (n, 5) float32, by race code.
    """

    age: np.ndarray | None = None
    age_low: np.ndarray | None = None
    age_high: np.ndarray | None = None
    female_probability: np.ndarray | None = None
    race_probabilities: np.ndarray | None = None

    def beside(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Labels, image_id and group of n rows beside the answers, schema PREDICTIONS; null: what is not known."""
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("image_id", *TARGETS)}
        columns["group"] = pa.array([row.get("group") for row in rows], pa.string())
        columns["age_predicted"] = _column(self.age, len(rows))
        columns["female_probability"] = _column(self.female_probability, len(rows))
        columns["race_probabilities"] = _column(self.race_probabilities, len(rows))
        for name, bounds in (("age_low", self.age_low), ("age_high", self.age_high)):
            # A bundle without an interval says NaN; an answer of NaN stays one, so that it shows.
            columns[name] = (
                pa.nulls(len(rows), pa.float32())
                if bounds is None
                else pa.array(bounds, pa.float32(), from_pandas=True)
            )
        return pa.table(columns, PREDICTIONS)


class CropPredictor:
    """The networks of a bundle.

    Args:
        path: the bundle's folder.

    Raises:
        BundleError: a file is missing or altered, or the card is of another version.
    """

    def __init__(self, path: Path):
        self.card = read_card(path)
        self._networks = [(load_network(path, file), file.input) for file in self.card.networks]
        side = self.card.crop.size
        signature = [tf.TensorSpec((None, side, side, 3), tf.uint8)]
        self._run_compiled = tf.function(self._run, input_signature=signature)

    def predict_crops(self, crops: np.ndarray) -> Answers:
        """Answers for crops, uint8 (n, size, size, 3) of the card's crop size; ValueError for another shape."""
        side = self.card.crop.size
        if crops.dtype != np.uint8 or crops.shape[1:] != (side, side, 3):
            raise ValueError(f"crops are {crops.dtype} {crops.shape}, not uint8 (n, {side}, {side}, 3)")
        outputs = self.outputs(crops)
        return answers_of(outputs, self.card.recipe.settings, self.card.temperatures, self.card.age_interval)

    def outputs(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        """What the head of each target gives for crops as above, float32 (n, k)."""
        # Some kernels can't take an empty batch, so a black crop stands in for none.
        fed = crops if len(crops) else np.zeros((1, *crops.shape[1:]), np.uint8)
        parts = [self._run_compiled(fed[start : start + BATCH]) for start in range(0, len(fed), BATCH)]
        return {
            name: np.concatenate([part[name].numpy() for part in parts])[: len(crops)] for name in self.card.targets
        }

    def _run(self, crops: tf.Tensor) -> dict[str, tf.Tensor]:
        return run(self._networks, partial(prepare, crops), self.card.flip_averaging)


def run(
    networks: Sequence[tuple[keras.Model, Input]], prepared: Callable[[Input], tf.Tensor], flip_averaging: bool
) -> dict[str, tf.Tensor]:
    """What the head of each target gives for a batch of crops.

    Args:
        networks: with what each takes in; where several have a head for the same target, it is the mean of theirs.
        prepared: gives the crops as such an input, (batch, side, side, channels), like `pixels.prepare`.
        flip_averaging: give the mean for a picture and its mirror image, between which a face does not change.
    """
    fed: dict[Input, tf.Tensor] = {}
    found: defaultdict[str, list[tf.Tensor]] = defaultdict(list)
    for network, given in networks:
        if given not in fed:
            pictures = prepared(given)
            # In one batch: faster than one after the other, and half the nodes where the graph is exported.
            fed[given] = tf.concat([pictures, tf.reverse(pictures, [2])], axis=0) if flip_averaging else pictures
        for name, output in network(fed[given], training=False).items():
            found[name].append(output)
    means = {name: sum(outputs) / len(outputs) for name, outputs in found.items()}
    if not flip_averaging:
        return means
    return {name: tf.reduce_mean(tf.reshape(mean, [2, -1, mean.shape[-1]]), axis=0) for name, mean in means.items()}


def answers_of(
    outputs: Mapping[str, np.ndarray],
    recipe: Recipe,
    temperatures: Mapping[str, float],
    interval: AgeInterval | None,
) -> Answers:
    """The answers that outputs of a recipe's heads, (n, k) a target, stand for."""
    found: dict[str, np.ndarray] = {}
    if "age" in outputs:
        years = heads.years(outputs["age"], recipe.age_answers, temperatures.get("age", 1.0)).astype(np.float32)
        half = np.float32(np.nan) if interval is None else half_widths(outputs["age"], recipe.age_answers, interval)
        found = {"age": years, "age_low": np.maximum(years - half, 0), "age_high": years + half}
    if "gender" in outputs:
        both = tempered(binary(outputs["gender"][:, 0]), temperatures.get("gender", 1.0))
        found["female_probability"] = both[:, 1].astype(np.float32)
    if "race" in outputs:
        found["race_probabilities"] = tempered(outputs["race"], temperatures.get("race", 1.0)).astype(np.float32)
    return Answers(**found)


def half_widths(outputs: np.ndarray, kind: AgeAnswers, interval: AgeInterval) -> np.ndarray:
    """Half the width in years (n,) of the interval of each age: `card.AgeInterval` has the formula."""
    return (interval.half_width * difficulties(outputs, kind, interval.typical_deviation)).astype(np.float32)


def difficulties(outputs: np.ndarray, kind: AgeAnswers, typical_deviation: float | None) -> np.ndarray:
    """How hard each picture is, by the age head's own account: (n,), about 1 on average."""
    deviations = heads.deviations(outputs, kind)
    if deviations is None or not typical_deviation:
        return np.ones(len(outputs))
    return (deviations + SUREST) / (typical_deviation + SUREST)


def _column(answers: np.ndarray | None, rows: int) -> list[Any]:
    return [None] * rows if answers is None else list(answers)


def load_network(bundle: Path, entry: NetworkFile) -> keras.Model:
    """A network of the bundle, checked before it is opened; nothing in it is run that Keras doesn't know.

    Raises:
        BundleError: the file is missing, altered or damaged.
    """
    path = bundle / entry.file
    if path.parent != bundle or not path.is_file():
        raise BundleError(f"{path} is missing; the card names it")
    found = sha256_file(path)
    if found != entry.sha256:
        raise BundleError(f"{path} is not the file that the card names: its SHA-256 is {found}, not {entry.sha256}")
    try:
        return keras.saving.load_model(path, custom_objects=LAYERS, compile=False, safe_mode=True)
    except (ValueError, TypeError, LookupError, AttributeError, OSError, zipfile.BadZipFile) as error:
        first = next(iter(str(error).splitlines()), "")
        raise BundleError(f"{path} is damaged, no network of Keras: {type(error).__name__}: {first}") from None
