"""Training the networks of a recipe on shards, resumably.

After each epoch the network is judged on the validation shard, with the moving average of its weights where the recipe
keeps one. The weights with the lowest validation loss are what a training gives.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from faceline.datasets.records import MANIFEST
from faceline.files import sha256_file
from faceline.learning import checkpoint, heads, inputs, networks
from faceline.learning.checkpoint import Arrays, Progress
from faceline.learning.inputs import Subset
from faceline.learning.recipe import Cosine, NetworkSettings, Plateau, Recipe, recipe_digest

Say = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """A trained network: float32, with its best weights; and a row an epoch, as in history.csv."""

    settings: NetworkSettings
    model: keras.Model
    history: list[dict[str, Any]]


def train(recipe: Recipe, shards: Path, store: Path, say: Say) -> list[Trained]:
    """Train the networks one after another, going on from what a killed training left in `store`.

    Args:
        store: a folder for the checkpoints; `checkpoints(...)` names it.
        say: is told one line an epoch.

    Raises:
        SourceError: the shards hold no rows to train on or to validate with.
    """
    subsets = (Subset.of(shards, "train"), Subset.of(shards, "val"))
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
    return [_train_one(entry, recipe, subsets, store, say) for entry in recipe.networks]


def checkpoints(store: Path, shards: Path, recipe: Recipe) -> Path:
    """The folder in the store for trainings with these shards, this recipe and this code."""
    code = [file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py"))]
    architectures = [networks.source_digest(entry.network) for entry in recipe.networks]
    parts = [sha256_file(shards / MANIFEST), recipe_digest(recipe), *architectures, keras.__version__, tf.__version__]
    return store / hashlib.sha256(b"\0".join([*code, *map(str.encode, parts)])).hexdigest()[:32]


def build(entry: NetworkSettings, recipe: Recipe, policy: str = "float32") -> keras.Model:
    """The untrained network: a picture as `pixels.prepare` gives it in, {target: output} out."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        image = keras.Input((recipe.input_size, recipe.input_size, recipe.channels), name="image")
        targets = entry.targets
        features = networks.load(entry.network).build(image, targets.names, entry.parsed_arguments)
        outputs = {name: heads.output(features[name], name, getattr(targets, name)) for name in targets.names}
        return keras.Model(image, outputs, name=entry.name)
    finally:
        keras.config.set_dtype_policy(before)


def precision(recipe: Recipe) -> str:
    """The dtype policy to train with; `auto` is mixed_bfloat16 where the hardware computes in bfloat16."""
    if recipe.precision != "auto":
        return recipe.precision
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return "mixed_bfloat16" if capability >= (8, 0) else "float32"  # from Ampere on
    flags = Path("/proc/cpuinfo")  # Linux alone has it
    has = flags.exists() and any(flag in flags.read_text() for flag in ("avx512_bf16", "amx_bf16"))
    return "mixed_bfloat16" if has else "float32"


def _train_one(
    entry: NetworkSettings, recipe: Recipe, subsets: tuple[Subset, Subset], store: Path, say: Say
) -> Trained:
    keras.utils.set_random_seed(recipe.seed)
    learning, judging = subsets
    names, steps = entry.targets.names, inputs.steps(learning, recipe)
    model = build(entry, recipe, precision(recipe))
    _compile(model, entry, recipe, steps)
    saved = store / f"{entry.name}.npz"
    if said := networks.initialize(entry.network, model, entry.parsed_arguments):
        say(f"{entry.name}: {said}")
    best, progress = checkpoint.restore(saved, model)
    watch = _Watch(entry, recipe, model, inputs.judging(judging, recipe, names), saved, say, best, progress)
    if not progress.finished:
        model.fit(
            inputs.training(learning, recipe, names, progress.epoch),
            initial_epoch=progress.epoch,
            epochs=recipe.epochs,
            steps_per_epoch=steps,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=watch.begin, on_epoch_end=watch.end)],
            shuffle=False,  # the input is shuffled already
            verbose=0,
        )
    result = build(entry, recipe)
    result.set_weights(watch.best)
    return Trained(entry, result, progress.history)


def _compile(model: keras.Model, entry: NetworkSettings, recipe: Recipe, steps: int) -> None:
    """Give the network its optimizer, losses and metrics, and create the optimizer's variables."""
    chosen = {name: getattr(entry.targets, name) for name in entry.targets.names}
    model.compile(
        optimizer=_optimizer(recipe, steps),
        loss={name: heads.loss(head) for name, head in chosen.items()},
        loss_weights={name: head.weight for name, head in chosen.items()},
        weighted_metrics={name: [heads.metric(name)] for name in chosen},
        # On processors XLA takes half as long again as TensorFlow's own kernels (compact at width 24, bfloat16).
        jit_compile="auto" if tf.config.list_physical_devices("GPU") else False,
    )
    model.optimizer.build(model.trainable_variables)


def _optimizer(recipe: Recipe, steps: int) -> keras.Optimizer:
    """The recipe's optimizer; `steps` is batches an epoch."""
    settings, rate = recipe.optimizer, recipe.optimizer.learning_rate
    if isinstance(recipe.schedule, Cosine):
        total = steps * recipe.epochs
        rise = round(total * recipe.schedule.warmup)
        schedule = keras.optimizers.schedules.CosineDecay
        falling = max(1, total - rise)
        rate = schedule(rate / 20, falling, warmup_target=rate, warmup_steps=rise) if rise else schedule(rate, falling)
    options: dict[str, Any] = {"use_ema": True, "ema_momentum": settings.ema_momentum} if settings.ema_momentum else {}
    if settings.name == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, **options)
    kind = keras.optimizers.Adam if settings.name == "adam" else keras.optimizers.RMSprop
    return kind(rate, **options)


@dataclass
class _Watch:
    """What happens between epochs: judging, keeping the best, the learning rate, stopping, the checkpoint."""

    entry: NetworkSettings
    recipe: Recipe
    model: keras.Model
    judging: tf.data.Dataset
    saved: Path
    say: Say
    best: Arrays
    progress: Progress
    started: float = 0.0  # seconds, of a clock that only rises

    def begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """An epoch begins."""
        self.started = time.monotonic()

    def end(self, epoch: int, logs: dict[str, float]) -> None:
        """An epoch has ended with these means over its batches."""
        progress = self.progress
        progress.epoch = epoch + 1
        rate = float(self.model.optimizer.learning_rate)
        judged = self._judge()
        scores = heads.scores(judged, self.entry.targets.names)
        losses = {"loss": logs["loss"], "val_loss": judged["loss"]}
        judged_by = {f"val_{name}": score for name, score in scores.items()}
        row = {"network": self.entry.name, "epoch": progress.epoch, **losses, **judged_by, "learning_rate": rate}
        progress.history.append(row)
        self._decide(judged["loss"])
        checkpoint.save(self.saved, self.model, self.best, progress)
        self.say(self._line(row, scores, time.monotonic() - self.started))
        self.model.stop_training = progress.finished

    def _judge(self) -> dict[str, float]:
        """Loss and metrics on the validation shard; the weights that did best are kept."""
        averaged = self.recipe.optimizer.ema_momentum is not None
        variables = self.model.trainable_variables
        raw = [variable.numpy() for variable in variables] if averaged else []
        if averaged:
            self.model.optimizer.finalize_variable_values(variables)
        judged: dict[str, float] = self.model.evaluate(self.judging, return_dict=True, verbose=0)
        if judged["loss"] < self.progress.best:
            self.best = self.model.get_weights()
        for variable, value in zip(variables, raw, strict=False):
            variable.assign(value)
        return judged

    def _decide(self, loss: float) -> None:
        """Early stopping, and the learning rate where it waits for a plateau."""
        progress, schedule = self.progress, self.recipe.schedule
        better = loss < progress.best
        progress.best = min(loss, progress.best)
        progress.waited = 0 if better else progress.waited + 1
        progress.held = 0 if better else progress.held + 1
        if isinstance(schedule, Plateau) and progress.held >= schedule.patience:
            optimizer = self.model.optimizer
            optimizer.learning_rate = max(float(optimizer.learning_rate) * schedule.factor, schedule.minimum)
            progress.held = 0
        stop = progress.waited >= self.recipe.early_stopping.patience
        progress.finished = stop or progress.epoch == self.recipe.epochs

    def _line(self, row: dict[str, Any], scores: dict[str, float], seconds: float) -> str:
        told = (f"{name.replace('_', ' ')} {score:.3f}" for name, score in scores.items())
        where = f"{row['network']}: epoch {row['epoch']}/{self.recipe.epochs}, {seconds:.1f} s"
        losses = f"loss {row['loss']:.3f}, validation {row['val_loss']:.3f}"
        return ", ".join([where, losses, *told, f"learning rate {row['learning_rate']:.2g}"])
