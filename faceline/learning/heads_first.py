"""The heads of a pretrained network learned before the rest: on its pooled features, as they came.

Heads that begin at random would push what the network knows out of it in the first steps: "linear probing, then
fine-tuning", Kumar et al. 2022, https://arxiv.org/abs/2202.10054. The features are those of the training pictures as
they are served, unvaried; they are all that is held in memory.
"""

import math
import time
from collections.abc import Callable

import keras
import numpy as np

from faceline.errors import SettingsError
from faceline.learning.inputs import Subset
from faceline.learning.losses import loss
from faceline.learning.recipe import NetworkSettings, Recipe
from faceline.learning.refit import extract, require_memory

Columns = dict[str, np.ndarray]  # of rows, by target


def learn_heads(
    model: keras.Model, entry: NetworkSettings, recipe: Recipe, train: Subset, say: Callable[[str], None]
) -> None:
    """Train all that lies behind the pooled features of `model`, in place, on labels alone, as `heads_first` says.

    Args:
        say: is told one line.

    Raises:
        SettingsError: the network pools no maps, or its features would not fit into memory.
    """
    settings = recipe.heads_first
    if settings is None:
        return
    begun = time.monotonic()
    pooled = require_pooled(model, entry, train)
    features, labels = extract(keras.Model(model.input, pooled), recipe, train, entry.targets.names)
    known = {target: ~np.isnan(values) for target, values in labels.items()}
    chosen = {target: getattr(entry.targets, target) for target in labels}
    behind = keras.Model(pooled, model.output)
    behind.dtype_policy = model.dtype_policy  # by which Keras knows that float16 needs its losses scaled
    given = {target: np.where(known[target], values, 0)[:, None] for target, values in labels.items()}
    weights = {target: rows.astype(np.float32) for target, rows in known.items()}
    batches = _Batches(features, given, weights, recipe.batch_size, recipe.seed)
    falling = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.epochs * len(batches))
    behind.compile(
        optimizer=keras.optimizers.AdamW(falling, weight_decay=settings.weight_decay),
        loss={target: loss(head) for target, head in chosen.items()},
        loss_weights={target: head.weight for target, head in chosen.items()},
        jit_compile=False,
    )
    behind.fit(batches, epochs=settings.epochs, shuffle=False, verbose=0)
    count = sum(weight.numpy().size for weight in behind.trainable_variables)
    say(f"{count:,} parameters behind the pooled features learned first, {time.monotonic() - begun:.0f} s")


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Features with labels and the weights of these, in another order each epoch, by the seed alone."""

    def __init__(self, features: np.ndarray, labels: Columns, weights: Columns, size: int, seed: int):
        super().__init__()
        self._features, self._labels, self._weights, self._size = features, labels, weights, size
        self._random = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self._features) / self._size)

    def __getitem__(self, number: int) -> tuple[np.ndarray, Columns, Columns]:
        rows = self._order[number * self._size : (number + 1) * self._size]
        labels, weights = (
            {target: values[rows] for target, values in of.items()} for of in (self._labels, self._weights)
        )
        return self._features[rows], labels, weights

    def on_epoch_end(self) -> None:
        """Put the rows into another order."""
        self._order = self._random.permutation(len(self._features))


def require_pooled(model: keras.Model, entry: NetworkSettings, train: Subset) -> keras.KerasTensor:
    """The features (batch, n) of the last layer that pools whole maps.

    Raises:
        SettingsError: there is no such layer, or its features of all rows would not fit into memory.
    """
    found = [layer for layer in model.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D)]
    if not found:
        raise SettingsError(f"{entry.name}: heads_first: the network pools no maps; it is for networks that do")
    pooled = found[-1].output
    require_memory(f"{entry.name}: heads_first", train.rows, pooled.shape[-1])
    return pooled
