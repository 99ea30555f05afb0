"""The input pipelines: shards streamed, decoded in parallel, prefetched; no set is held in memory."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import tensorflow as tf

from faceline.datasets import records
from faceline.datasets.labels import OLDEST
from faceline.datasets.records import Format, read_manifest, shard_files
from faceline.datasets.tables import MISSING
from faceline.errors import SourceError
from faceline.learning.augmentation import augment
from faceline.learning.pixels import prepare, scaled
from faceline.learning.recipe import Recipe

Batch = tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, tf.Tensor]]  # inputs, labels (batch, 1), weights (batch,)


@dataclass(frozen=True)
class Subset:
    """A subset of the shards: its files and their format, its rows, and the pixels a side of its crops."""

    files: tuple[Path, ...]
    form: Format
    rows: int
    crop_size: int

    @classmethod
    def of(cls, shards: Path, name: str) -> Self:
        """The subset called `name`, as TFRecord where there is some; SourceError if it is empty."""
        manifest = read_manifest(shards)
        if not manifest["rows"][name]:
            raise SourceError(f"{shards} has no rows in {name}")
        form: Format = "tfrecord" if "tfrecord" in manifest["formats"] else "parquet"
        return cls(tuple(shard_files(shards, name, form)), form, manifest["rows"][name], manifest["crop_size"])


def steps(subset: Subset, recipe: Recipe) -> int:
    """Batches an epoch of training; the rows that do not fill a last one sit an epoch out."""
    return subset.rows // min(recipe.batch_size, subset.rows)


def training(subset: Subset, recipe: Recipe, targets: Sequence[str], first_epoch: int) -> tf.data.Dataset:
    """Batches of all epochs from `first_epoch` on, one epoch after another without a pause.

    Order and augmentation depend on the recipe's seed, the epoch and the batch's number alone: a training that goes on
    at an epoch sees what it would have seen.
    """
    size = min(recipe.batch_size, subset.rows)
    names = tf.constant([str(file) for file in subset.files])

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        seed = recipe.seed + epoch * 1_000_003
        order = tf.random.experimental.stateless_shuffle(names, [recipe.seed, epoch])
        rows = records.rows(order, subset.form)
        mixed = rows.shuffle(recipe.shuffle_buffer, seed=seed, reshuffle_each_iteration=False)
        crops = mixed.map(_decode(subset.crop_size), num_parallel_calls=tf.data.AUTOTUNE)
        return crops.batch(size, drop_remainder=True).enumerate().map(lambda number, batch: (seed, number, batch))

    def vary(seed: tf.Tensor, number: tf.Tensor, batch: dict[str, tf.Tensor]) -> Batch:
        pictures = augment(batch["crop"], recipe.input_size, tf.stack([seed, number]), recipe.augmentation)
        return scaled(pictures, recipe.grey, recipe.scaling), *_labels(batch, targets)

    batches = tf.data.Dataset.range(first_epoch, recipe.epochs).flat_map(epoch_batches)
    varied = batches.map(vary, num_parallel_calls=tf.data.AUTOTUNE)
    known = tf.data.experimental.assert_cardinality((recipe.epochs - first_epoch) * steps(subset, recipe))
    return varied.apply(known).prefetch(4)


def judging(subset: Subset, recipe: Recipe, targets: Sequence[str]) -> tf.data.Dataset:
    """The batches of a subset as they are served: in order, none left out, unvaried."""

    def plain(batch: dict[str, tf.Tensor]) -> Batch:
        return prepare(batch["crop"], recipe.input_size, recipe.grey, recipe.scaling), *_labels(batch, targets)

    crops = records.rows(subset.files, subset.form).map(_decode(subset.crop_size), num_parallel_calls=tf.data.AUTOTUNE)
    batches = crops.batch(recipe.batch_size).map(plain, num_parallel_calls=tf.data.AUTOTUNE)
    known = tf.data.experimental.assert_cardinality(math.ceil(subset.rows / recipe.batch_size))
    return batches.apply(known).prefetch(2)


def _decode(crop_size: int) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """A function from a row to its crop, uint8 (side, side, 3), and labels."""

    def decode(row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        crop = tf.ensure_shape(tf.io.decode_png(row["png"], channels=3), (crop_size, crop_size, 3))
        return {"crop": crop, **{name: row[name] for name in records.LABEL_COLUMNS}}

    return decode


def _labels(batch: dict[str, tf.Tensor], targets: Sequence[str]) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """Labels (batch, 1), and weights (batch,) that are 0 where a label is missing."""
    weights = {name: tf.cast(batch[name] != MISSING, tf.float32) for name in targets}
    # A missing label has no weight, but must be a code that the loss can look up.
    labels = {name: tf.cast(tf.clip_by_value(batch[name], 0, OLDEST), tf.float32)[:, None] for name in targets}
    return labels, weights
