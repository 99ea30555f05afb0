"""The bundle: what training leaves and everything else uses, and the one way to predict with it.

A folder with the networks (`.keras`) and `card.json`. `Predictor` takes a picture the way training pictures went:
decoded, faces found, cropped, resized, scaled; evaluation, command line and serving use it and so can't drift apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from faceline.datasets.labels import GENDERS, RACES
from faceline.errors import BundleError
from faceline.faces.cropping import counted, crop_face
from faceline.faces.decoding import decode
from faceline.faces.detection import Detector, Face
from faceline.files import sha256_file, write_json
from faceline.learning import heads
from faceline.learning.card import CARD, FORMAT, Card, Input, NamedRecipe, NetworkFile, read_card
from faceline.learning.pixels import SCALING, prepare
from faceline.learning.recipe import Recipe, recipe_digest
from faceline.learning.training import Trained

BATCH = 128  # crops a call of the networks


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


@dataclass(frozen=True)
class FaceAnswer:
    """One face in a picture: where it is, what the networks saw (size, size, 3), and their answers (None as above)."""

    face: Face
    crop: np.ndarray
    age: float | None = None
    age_low: float | None = None
    age_high: float | None = None
    female_probability: float | None = None
    race_probabilities: tuple[float, ...] | None = None


class FindsFaces(Protocol):
    """What finds faces: `faceline.faces.detection.Detector`, or a stand-in."""

    def detect(self, pictures: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces of each RGB picture (height, width, 3)."""
        ...


def write_bundle(folder: Path, trained: Sequence[Trained], recipe: Recipe, *, name: str, **card: Any) -> None:
    """Write the networks and the card to an existing folder.

    Args:
        trained: the networks of `recipe`, which is called `name`.
        card: the fields of `Card` that do not follow from these.
    """
    files = []
    for network in trained:
        path = folder / f"{network.settings.name}.keras"
        network.model.save(path)
        targets, parameters = network.settings.targets.names, network.model.count_params()
        files.append(NetworkFile(file=path.name, sha256=sha256_file(path), targets=targets, parameters=parameters))
    whole = Card(
        format=FORMAT,
        recipe=NamedRecipe(name=name, digest=recipe_digest(recipe), settings=recipe),
        targets=recipe.targets,
        labels={"gender": GENDERS, "race": RACES},
        networks=tuple(files),
        input=Input(size=recipe.input_size, channels=1 if recipe.grey else 3, scaling=SCALING),
        **card,
    )
    write_json(folder / CARD, whole.model_dump(mode="json"))


class Predictor:
    """The networks of a bundle, and the way of a picture to them.

    Args:
        path: the bundle's folder.
        detector: what finds faces; by default the card's, made when first needed.

    Raises:
        BundleError: a file is missing or altered, or the card is of another version.
    """

    def __init__(self, path: Path, detector: FindsFaces | None = None):
        self.card = read_card(path)
        self._detector = detector
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
        return Answers(
            **self._ages(outputs["age"]) if "age" in outputs else {},
            female_probability=outputs["gender"][:, 0] if "gender" in outputs else None,
            race_probabilities=outputs.get("race"),
        )

    def predict(self, pictures: Sequence[bytes]) -> list[list[FaceAnswer]]:
        """The counted faces of each encoded picture, by descending score, with their answers.

        Raises:
            PictureError: a picture cannot be used.
        """
        decoded = [decode(data, **self.card.decode.model_dump()) for data in pictures]
        if self._detector is None:
            self._detector = Detector(self.card.detect)
        faces = [counted(found, self.card.crop) for found in self._detector.detect(decoded)]
        crops = [
            crop_face(picture, face, self.card.crop)
            for picture, found in zip(decoded, faces, strict=True)
            for face in found
        ]
        if not crops:
            return [[] for _ in pictures]
        answers = _rows(self.predict_crops(np.stack(crops)))
        remaining = zip(crops, answers, strict=True)
        return [
            [FaceAnswer(face, crop, **numbers) for face, (crop, numbers) in zip(found, remaining, strict=False)]
            for found in faces
        ]

    def _run(self, crops: tf.Tensor) -> dict[str, tf.Tensor]:
        pictures = prepare(crops, self.card.input.size, self.card.input.channels == 1)
        answers = [network(pictures, training=False) for network in self._networks]
        return {name: output for answer in answers for name, output in answer.items()}

    def _ages(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        years = heads.years(outputs).astype(np.float32)
        half_width = np.float32(self.card.age_interval.half_width if self.card.age_interval else np.nan)
        return {"age": years, "age_low": np.maximum(years - half_width, 0), "age_high": years + half_width}


def _load(bundle: Path, entry: NetworkFile) -> keras.Model:
    """A network of the bundle, checked before it is opened; nothing in it is run that Keras doesn't know."""
    path = bundle / entry.file
    if path.parent != bundle or not path.is_file():
        raise BundleError(f"{path} is missing; the card names it")
    found = sha256_file(path)
    if found != entry.sha256:
        raise BundleError(f"{path} is not the file that the card names: its SHA-256 is {found}, not {entry.sha256}")
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _rows(answers: Answers) -> Iterator[dict[str, Any]]:
    """The answers crop by crop, as plain numbers."""
    columns = {name: values.tolist() for name, values in vars(answers).items() if values is not None}
    if answers.race_probabilities is not None:
        columns["race_probabilities"] = list(map(tuple, columns["race_probabilities"]))
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))
