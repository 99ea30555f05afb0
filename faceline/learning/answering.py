"""The networks of a bundle on crops of faces; `faceline.learning.bundle` makes the crops of a picture first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from faceline.errors import BundleError
from faceline.files import sha256_file
from faceline.learning import heads
from faceline.learning.card import AgeInterval, NetworkFile, read_card
from faceline.learning.pixels import prepare
from faceline.probabilities import binary, tempered

BATCH = 128  # crops a call of the networks
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


class CropPredictor:
    """The networks of a bundle.

    Args:
        path: the bundle's folder.

    Raises:
        BundleError: a file is missing or altered, or the card is of another version.
    """

    def __init__(self, path: Path):
        self.card = read_card(path)
        self._networks = [_load(path, file) for file in self.card.networks]
        side = self.card.crop.size
        signature = [tf.TensorSpec((None, side, side, 3), tf.uint8)]
        self._outputs = tf.function(self._run, input_signature=signature)

    def predict_crops(self, crops: np.ndarray) -> Answers:
        """Answers for crops, uint8 (n, size, size, 3) of the card's crop size; ValueError for another shape."""
        side = self.card.crop.size
        if crops.dtype != np.uint8 or crops.shape[1:] != (side, side, 3):
            raise ValueError(f"crops are {crops.dtype} {crops.shape}, not uint8 (n, {side}, {side}, 3)")
        # Some kernels can't take an empty batch, so a black crop stands in for none.
        fed = crops if len(crops) else np.zeros((1, side, side, 3), np.uint8)
        parts = [self._outputs(fed[start : start + BATCH]) for start in range(0, len(fed), BATCH)]
        outputs = {
            name: np.concatenate([part[name].numpy() for part in parts])[: len(crops)] for name in self.card.targets
        }
        return answers_of(outputs, self.card.temperatures, self.card.age_interval)

    def _run(self, crops: tf.Tensor) -> dict[str, tf.Tensor]:
        given = self.card.input
        pictures = prepare(crops, given.size, given.channels == 1, given.scaling)
        return run(self._networks, pictures, self.card.flip_averaging)


def run(networks: Sequence[keras.Model], pictures: tf.Tensor, flip_averaging: bool) -> dict[str, tf.Tensor]:
    """What the head of each target gives for pictures (batch, side, side, channels), as `pixels.prepare` gives them.

    Args:
        flip_averaging: give the mean for a picture and its mirror image, between which a face does not change.
    """
    views = (pictures, pictures[:, :, ::-1]) if flip_averaging else (pictures,)
    found: dict[str, tf.Tensor] = {}
    for network in networks:
        outputs = [network(view, training=False) for view in views]
        found |= {name: sum(output[name] for output in outputs) / len(views) for name in outputs[0]}
    return found


def answers_of(
    outputs: Mapping[str, np.ndarray], temperatures: Mapping[str, float], interval: AgeInterval | None
) -> Answers:
    """The answers that outputs of heads, (n, k) a target, stand for.

    The distribution of age keeps its temperature: another would move its expectation, which is the answer, and how wide
    an interval must be is measured in any case.
    """
    found: dict[str, np.ndarray] = {}
    if "age" in outputs:
        years = heads.years(outputs["age"]).astype(np.float32)
        half = np.float32(np.nan) if interval is None else half_widths(outputs["age"], interval)
        found = {"age": years, "age_low": np.maximum(years - half, 0), "age_high": years + half}
    if "gender" in outputs:
        both = tempered(binary(outputs["gender"][:, 0]), temperatures.get("gender", 1.0))
        found["female_probability"] = both[:, 1].astype(np.float32)
    if "race" in outputs:
        found["race_probabilities"] = tempered(outputs["race"], temperatures.get("race", 1.0)).astype(np.float32)
    return Answers(**found)


def half_widths(outputs: np.ndarray, interval: AgeInterval) -> np.ndarray:
    """Half the width in years (n,) of the interval of each age: `card.AgeInterval` has the formula."""
    return (interval.half_width * difficulties(outputs, interval.typical_deviation)).astype(np.float32)


def difficulties(outputs: np.ndarray, typical_deviation: float | None) -> np.ndarray:
    """How hard each picture is, by the age head's own account: (n,), about 1 on average."""
    deviations = heads.deviations(outputs)
    if deviations is None or not typical_deviation:
        return np.ones(len(outputs))
    return (deviations + SUREST) / (typical_deviation + SUREST)


def _load(bundle: Path, entry: NetworkFile) -> keras.Model:
    """A network of the bundle, checked before it is opened; nothing in it is run that Keras doesn't know."""
    path = bundle / entry.file
    if path.parent != bundle or not path.is_file():
        raise BundleError(f"{path} is missing; the card names it")
    found = sha256_file(path)
    if found != entry.sha256:
        raise BundleError(f"{path} is not the file that the card names: its SHA-256 is {found}, not {entry.sha256}")
    return keras.saving.load_model(path, compile=False, safe_mode=True)
