"""The optimizer of a recipe, with its schedule, averages and clipping."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from faceline.learning.recipe import Cosine, Recipe

Gradients = Sequence[Any]  # a tensor a variable; None where there is no gradient
Means = Callable[[Gradients], Gradients]


def shared(recipe: Recipe, steps: int, policy: str, of_workers: Means | None = None) -> keras.Optimizer:
    """The recipe's optimizer for all devices of the current strategy, or workers; `steps` is batches an epoch.

    Each device has the gradients of its part of a batch, and Keras adds them up last, after it has shortened them and
    looked for numbers too large for float16. Where that matters they are brought together first.

    Args:
        policy: Keras's dtype policy of the network.
        of_workers: gives the means of several workers' gradients, which have no strategy.
    """
    devices, longest = tf.distribute.get_strategy().num_replicas_in_sync, recipe.optimizer.clip_norm
    if of_workers:
        return meeting(build(recipe, steps, longest), policy, of_workers)
    if devices == 1 or (longest is None and policy != "mixed_float16"):
        return build(recipe, steps, longest)

    def means(gradients: Gradients) -> Gradients:
        there = [gradient for gradient in gradients if gradient is not None]
        reduced = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, there))
        return [None if gradient is None else next(reduced) for gradient in gradients]

    # Keras's sum will make the mean of the parts so many times as long again.
    return meeting(build(recipe, steps, longest and longest / devices), policy, means)


def meeting(optimizer: keras.Optimizer, policy: str, means: Means) -> keras.Optimizer:
    """The same optimizer, which takes the `means` of all gradients before it does anything with them.

    Args:
        policy: Keras's dtype policy of the network.
    """
    if policy == "mixed_float16":  # as Keras would: it skips a step of too large gradients, which all must
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    kind = type(optimizer)

    class Meeting(kind):  # type: ignore[misc, valid-type]
        def apply(self, grads: Gradients, trainable_variables: Any = None) -> None:
            super().apply(means(grads), trainable_variables)

    return Meeting.from_config(optimizer.get_config())


def build(recipe: Recipe, steps: int, clip_norm: float | None) -> keras.Optimizer:
    """The recipe's optimizer, with this bound on its gradients; `steps` is batches an epoch."""
    settings, peak = recipe.optimizer, recipe.optimizer.learning_rate
    rate: Any = peak
    if isinstance(recipe.schedule, Cosine):
        total = steps * recipe.epochs
        rise = round(total * recipe.schedule.warmup)
        schedule = keras.optimizers.schedules.CosineDecay
        falling = max(1, total - rise)
        rate = schedule(peak / 20, falling, warmup_target=peak, warmup_steps=rise) if rise else schedule(peak, falling)
    options: dict[str, Any] = {"use_ema": True, "ema_momentum": settings.ema_momentum} if settings.ema_momentum else {}
    options["global_clipnorm"] = clip_norm
    if settings.name == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, **options)
    if settings.name == "sgd":
        return keras.optimizers.SGD(rate, settings.momentum, settings.nesterov, **options)
    kind = keras.optimizers.Adam if settings.name == "adam" else keras.optimizers.RMSprop
    return kind(rate, **options)


def rate(optimizer: keras.Optimizer) -> float:
    """The learning rate now; over several devices it is more than float() takes."""
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
