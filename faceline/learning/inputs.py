"""The input pipelines: shards streamed, decoded in parallel, prefetched; no set is held in memory."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import tensorflow as tf

from faceline.datasets import records
from faceline.datasets.crops import CropFormat
from faceline.datasets.labels import OLDEST
from faceline.datasets.records import Format, read_manifest, shard_files
from faceline.datasets.tables import MISSING
from faceline.errors import SettingsError, SourceError
from faceline.learning import mixup
from faceline.learning.augmentation import augment
from faceline.learning.card import Input
from faceline.learning.distillation import Lessons
from faceline.learning.pixels import prepare, scaled
from faceline.learning.recipe import Recipe
from faceline.learning.weighting import label_weights, repetitions

Batch = tuple[
    tf.Tensor, dict[str, tf.Tensor], dict[str, tf.Tensor]
]  # inputs, labels (batch, 1 or more), weights (batch,)


@dataclass(frozen=True)
class Subset:
    """A subset of the shards: its files and their format, its rows, how it holds their crops, and its labels."""

    files: tuple[Path, ...]
    form: Format
    rows: int
    crops: CropFormat
    label_counts: Mapping[str, Mapping[str, int]]  # rows of each label, by target

    @classmethod
    def of(cls, shards: Path, name: str) -> Self:
        """The subset called `name`, as TFRecord where there is some; SourceError if it is empty."""
        manifest = read_manifest(shards)
        if not manifest["rows"][name]:
            raise SourceError(f"{shards} has no rows in {name}")
        form: Format = "tfrecord" if "tfrecord" in manifest["formats"] else "parquet"
        files = tuple(shard_files(shards, name, form))
        return cls(files, form, manifest["rows"][name], CropFormat.of(manifest), manifest["label_counts"][name])


def steps(subset: Subset, recipe: Recipe) -> int:
    """Batches an epoch of training; the rows that do not fill a last one sit an epoch out.

    Raises:
        SettingsError: a batch is larger than the subset.
    """
    if recipe.batch_size > subset.rows:
        raise SettingsError(f"batch_size = {recipe.batch_size}: must be at most {subset.rows}, the rows to train on")
    return subset.rows // recipe.batch_size


def training(
    subset: Subset, recipe: Recipe, targets: Sequence[str], first_epoch: int, lessons: Lessons | None = None
) -> tf.data.Dataset:
    """Batches of all epochs from `first_epoch` on, one epoch after another without a pause; with a teacher's `lessons`.

    Order and augmentation depend on the recipe's seed, the epoch and the batch's number alone: a training that goes on
    at an epoch sees what it would have seen.
    """
    names = tf.constant([str(file) for file in subset.files])
    weighted = {name: label_weights(recipe.head(name), subset.label_counts) for name in targets}
    times = repetitions(recipe.sampling, subset.label_counts)

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        seed = recipe.seed + epoch * 1_000_003
        order = tf.random.experimental.stateless_shuffle(names, [recipe.seed, epoch])
        rows = records.rows(order, subset.form, subset.crops)
        if times is not None:
            rows = _drawn(rows, recipe.sampling.by, times, seed).take(subset.rows)
        mixed = rows.shuffle(recipe.shuffle_buffer, seed=seed, reshuffle_each_iteration=False)
        crops = mixed.map(_decode(subset.crops), num_parallel_calls=tf.data.AUTOTUNE)
        numbered = crops.batch(recipe.batch_size, drop_remainder=True).enumerate()
        return numbered.map(lambda number, batch: (seed, number, batch))

    def vary(seed: tf.Tensor, number: tf.Tensor, batch: dict[str, tf.Tensor]) -> Batch:
        drawn = tf.stack([seed, number])
        pictures = augment(batch["crop"], recipe.input_size, drawn, recipe.augmentation)
        labels, weights = _labels(batch, targets)
        for name, by_label in weighted.items():
            if by_label is not None:
                weights[name] *= tf.gather(by_label, tf.cast(labels[name][:, 0], tf.int64))
        if lessons:
            labels, weights = lessons.join(batch["image_id"], labels, weights)
        if alpha := recipe.augmentation.mixup:
            pictures, labels, weights = mixup.mix(pictures, labels, weights, drawn, alpha)
        return scaled(pictures, recipe.grey, recipe.scaling), labels, weights

    batches = tf.data.Dataset.range(first_epoch, recipe.epochs).flat_map(epoch_batches)
    varied = batches.map(vary, num_parallel_calls=tf.data.AUTOTUNE)
    known = tf.data.experimental.assert_cardinality((recipe.epochs - first_epoch) * steps(subset, recipe))
    return varied.apply(known).prefetch(4)


def _drawn(rows: tf.data.Dataset, by: str, times: np.ndarray, seed: tf.Tensor) -> tf.data.Dataset:
    """The rows, each as often as a draw of its own says: on average `times` by its label, once without one.

    It begins anew when the files end, with other draws, so that there are always enough.
    """

    def drawn(number: tf.Tensor, row: dict[str, tf.Tensor]) -> tf.data.Dataset:
        label = row[by]
        mean = tf.where(label == MISSING, 1.0, tf.gather(times, tf.maximum(label, 0)))
        count = tf.floor(mean + tf.random.stateless_uniform([], tf.stack([seed, number])))
        return tf.data.Dataset.from_tensors(row).repeat(tf.cast(count, tf.int64))

    return rows.repeat().enumerate().flat_map(drawn)


def judging(subset: Subset, recipe: Recipe, targets: Sequence[str]) -> tf.data.Dataset:
    """The batches of a subset as a network takes them in: `unvaried` ones, prepared."""
    given = Input.of(recipe)

    def prepared(crops: tf.Tensor, *rest: dict[str, tf.Tensor]) -> Batch:
        return prepare(crops, given), *rest

    return unvaried(subset, recipe, targets).map(prepared, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def unvaried(subset: Subset, recipe: Recipe, targets: Sequence[str]) -> tf.data.Dataset:
    """The batches of a subset as it lies there: in order, none left out, crops as uint8 (batch, side, side, 3)."""
    rows = records.rows(subset.files, subset.form, subset.crops)
    crops = rows.map(_decode(subset.crops), num_parallel_calls=tf.data.AUTOTUNE)
    batches = crops.batch(recipe.batch_size).map(lambda batch: (batch["crop"], *_labels(batch, targets)))
    return batches.apply(tf.data.experimental.assert_cardinality(math.ceil(subset.rows / recipe.batch_size)))


def _decode(crops: CropFormat) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """A function from a row to the same with its crop as uint8 (side, side, 3)."""

    def decode(row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return row if crops.pixels == "raw" else {**row, "crop": crops.tensor(row["crop"])}

    return decode


def _labels(batch: dict[str, tf.Tensor], targets: Sequence[str]) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """Labels (batch, 1), and weights (batch,) that are 0 where a label is missing."""
    weights = {name: tf.cast(batch[name] != MISSING, tf.float32) for name in targets}
    # A missing label has no weight, but must be a code that the loss can look up.
    labels = {name: tf.cast(tf.clip_by_value(batch[name], 0, OLDEST), tf.float32)[:, None] for name in targets}
    return labels, weights
