"""Asking bundles for the answers that a student learns from, once for each picture of the training set."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from faceline.datasets.crops import CropFormat
from faceline.datasets.labels import OLDEST
from faceline.datasets.records import read_manifest, read_rows
from faceline.errors import SourceError
from faceline.learning import heads
from faceline.learning.answering import CropPredictor
from faceline.learning.recipe import Recipe
from faceline.learning.teacher import Teacher, read_answers, write_answers

SUBSET = "train"
BATCH = 256  # crops decoded at a time; bounds the memory, does not change the answers
STORED = "teacher.parquet"  # what a bundle answered, in the store


def teach(bundles: Sequence[Path], shards: Path, tick: Callable[[], None] = lambda: None) -> Teacher:
    """What bundles answer to the pictures of the training subset, unvaried, as the networks give it: their mean.

    Args:
        bundles: their folders.
        shards: the folder of the shards.
        tick: is called after each picture.

    Raises:
        BundleError: one is no whole bundle of this version.
        SourceError: the shards are missing, their crops are not of the size that a bundle was trained on, or the
            bundles do not answer the same targets, ages all in years or all as a distribution.
    """
    predictors, crops = [CropPredictor(bundle) for bundle in bundles], CropFormat.of(read_manifest(shards))
    for bundle, predictor in zip(bundles, predictors, strict=True):
        if crops.side != predictor.card.crop.size:
            wanted = predictor.card.crop.size
            raise SourceError(f"the crops in {shards} have {crops.side} pixels a side, those of {bundle} {wanted}")
    rows = read_rows(shards, SUBSET)
    image_ids: list[str] = []
    parts: list[dict[str, np.ndarray]] = []
    while batch := list(islice(rows, BATCH)):
        image_ids += [row["image_id"] for row in batch]
        pictures = np.stack([crops.unpack(row["crop"]) for row in batch])
        answers = [_answers(predictor, pictures) for predictor in predictors]
        _require_alike(bundles, answers)
        parts.append({name: np.mean([each[name] for each in answers], axis=0) for name in answers[0]})
        for _ in batch:
            tick()
    return Teacher(image_ids, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def teacher_of(recipe: Recipe, shards: Path, store: Path, say: Callable[[str], None]) -> Teacher | None:
    """The answers of the teacher that a recipe names, None where it names none; a bundle's are kept in `store`.

    Raises:
        SourceError: they cannot be read, or are for none of the pictures or none of the targets of this training.
        BundleError: the teacher is a folder, but no whole bundle of this version.
    """
    if recipe.distill is None:
        return None
    path = recipe.distill.teacher
    if path.is_dir():
        asked, path = path, store / STORED
        if not path.exists():
            say(f"teacher: asking {asked} about every picture of {SUBSET}")
            write_answers(path, teach([asked], shards))
    teacher = read_answers(path)
    rows = [row["image_id"] for row in read_rows(shards, SUBSET)]
    known = len(set(rows) & set(teacher.image_ids))
    taught = [target for target in recipe.targets if target in teacher.answers]
    if not known or not taught:
        lacking = "pictures" if not known else "targets"
        raise SourceError(
            f"the teacher {recipe.distill.teacher} has answers for none of the {lacking} of this training"
        )
    say(f"teacher: {recipe.distill.teacher} answers {', '.join(taught)} for {known} of {len(rows)} pictures")
    return teacher


def _answers(predictor: CropPredictor, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """A bundle's outputs as a table holds them: ages as a distribution where its head gives one, else in years."""
    outputs = predictor.outputs(pictures)
    if (ages := outputs.get("age")) is not None:
        form = predictor.card.recipe.settings.age_answers
        distribution = heads.distribution(ages, form)
        # A number has no bounds of its own; a table of answers has those of labels.
        outputs["age"] = heads.years(ages, form).clip(max=OLDEST)[:, None] if distribution is None else distribution
    return outputs


def _require_alike(bundles: Sequence[Path], answers: Sequence[dict[str, np.ndarray]]) -> None:
    """Refuse bundles whose answers have no mean."""
    shapes = [{name: values.shape[1] for name, values in each.items()} for each in answers]
    for bundle, shape in zip(bundles, shapes, strict=True):
        if shape != shapes[0]:
            told = f"{bundles[0]} answers {_told(shapes[0])}, {bundle} {_told(shape)}"
            raise SourceError(f"{told}: no mean of these can be taken")


def _told(shape: dict[str, int]) -> str:
    return ", ".join("age in years" if (name, width) == ("age", 1) else name for name, width in shape.items())
