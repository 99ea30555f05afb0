"""Asking a bundle for the answers that a student learns from, once for each picture of the training set."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

from faceline.datasets.crops import CropFormat
from faceline.datasets.records import read_manifest, read_rows
from faceline.errors import SourceError
from faceline.learning import heads
from faceline.learning.answering import CropPredictor
from faceline.learning.recipe import Recipe
from faceline.learning.teacher import Teacher, read_answers, write_answers

SUBSET = "train"
BATCH = 256  # crops decoded at a time; bounds the memory, does not change the answers
STORED = "teacher.parquet"  # what a bundle answered, in the store


def teach(bundle: Path, shards: Path, tick: Callable[[], None] = lambda: None) -> Teacher:
    """What a bundle answers to the pictures of the training subset, unvaried, as the networks give it.

    Args:
        bundle: its folder.
        shards: the folder of the shards.
        tick: is called after each picture.

    Raises:
        BundleError: it is no whole bundle of this version.
        SourceError: the shards are missing, or their crops are not of the size that the bundle was trained on.
    """
    predictor = CropPredictor(bundle)
    card, crops = predictor.card, CropFormat.of(read_manifest(shards))
    if crops.side != card.crop.size:
        raise SourceError(f"the crops in {shards} have {crops.side} pixels a side, those of {bundle} {card.crop.size}")
    rows = read_rows(shards, SUBSET)
    image_ids: list[str] = []
    parts: list[dict[str, np.ndarray]] = []
    while batch := list(islice(rows, BATCH)):
        image_ids += [row["image_id"] for row in batch]
        outputs = predictor.outputs(np.stack([crops.unpack(row["crop"]) for row in batch]))
        parts.append({name: _answers(values, card.recipe.settings, name) for name, values in outputs.items()})
        for _ in batch:
            tick()
    return Teacher(image_ids, {name: np.concatenate([part[name] for part in parts]) for name in card.targets})


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
            write_answers(path, teach(asked, shards))
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


def _answers(outputs: np.ndarray, recipe: Recipe, target: str) -> np.ndarray:
    """A head's outputs as a table holds them: ages as a distribution where the head gives one, else in years."""
    if target != "age":
        return outputs
    distribution = heads.distribution(outputs, recipe.age_answers)
    return heads.years(outputs, recipe.age_answers)[:, None] if distribution is None else distribution
