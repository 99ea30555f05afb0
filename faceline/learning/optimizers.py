"""The optimizer of a recipe, with its schedule, averages and clipping."""

from typing import Any

import keras

from faceline.learning.recipe import Cosine, Recipe


def build(recipe: Recipe, steps: int) -> keras.Optimizer:
    """The recipe's optimizer; `steps` is batches an epoch."""
    settings, peak = recipe.optimizer, recipe.optimizer.learning_rate
    rate: Any = peak
    if isinstance(recipe.schedule, Cosine):
        total = steps * recipe.epochs
        rise = round(total * recipe.schedule.warmup)
        schedule = keras.optimizers.schedules.CosineDecay
        falling = max(1, total - rise)
        rate = schedule(peak / 20, falling, warmup_target=peak, warmup_steps=rise) if rise else schedule(peak, falling)
    options: dict[str, Any] = {"use_ema": True, "ema_momentum": settings.ema_momentum} if settings.ema_momentum else {}
    options["global_clipnorm"] = settings.clip_norm
    if settings.name == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, **options)
    if settings.name == "sgd":
        return keras.optimizers.SGD(rate, settings.momentum, settings.nesterov, **options)
    kind = keras.optimizers.Adam if settings.name == "adam" else keras.optimizers.RMSprop
    return kind(rate, **options)


def rate(optimizer: keras.Optimizer) -> float:
    """The learning rate now; over several devices it is more than float() takes."""
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
