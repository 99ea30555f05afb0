"""Training the networks of a recipe on shards, resumably.

After each epoch the network is judged on the validation shard, with the moving average of its weights (`averaging`)
where the recipe keeps one. The weights with the lowest validation loss are what a training gives, with the heads that
the recipe wants learned anew on them (`refit`).
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf

from faceline.datasets.records import MANIFEST
from faceline.errors import SettingsError, TrainingError
from faceline.files import digest, sha256_file
from faceline.learning import (
    adjustment,
    averaging,
    checkpoint,
    devices,
    heads,
    heads_first,
    inputs,
    mixup,
    networks,
    normalization,
    optimizers,
    refit,
    rounding,
    starting,
    teaching,
)
from faceline.learning.card import file_digests
from faceline.learning.checkpoint import Arrays, Progress
from faceline.learning.devices import Hardware, HardwareSettings
from faceline.learning.distillation import Lessons, distilled
from faceline.learning.inputs import Subset
from faceline.learning.losses import loss
from faceline.learning.pace import Pace
from faceline.learning.recipe import Member, NetworkSettings, Plateau, Recipe, recipe_digest
from faceline.learning.workers import ALONE, Workers

Say = Callable[[str], None]
SEEDS = 2**31 - 1  # TensorFlow takes seeds modulo it


@dataclass(frozen=True)
class Trained:
    """A trained network with its best weights, float32, and refitted heads; and a row an epoch, as in history.csv."""

    name: str
    settings: NetworkSettings
    model: keras.Model
    history: list[dict[str, Any]]


def train(recipe: Recipe, shards: Path, store: Path, say: Say, hardware: Hardware | None = None) -> list[Trained]:
    """Train the networks one after another, going on from what a killed training left in `store`.

    Args:
        store: a folder for the checkpoints; `checkpoints(...)` names it.
        say: is told one line an epoch.
        hardware: what to train on; by default what there is.

    Raises:
        SourceError: the shards hold no rows to train on or to validate with, or the recipe's teacher cannot be used.
        SettingsError: a batch is larger than the set, or the bundle to start from or `heads_first` does not fit.
        WeightsError: a file of pretrained weights cannot be used.
        TrainingError: a loss is no number any more, or another worker has stopped.
    """
    hardware = hardware or devices.choose(HardwareSettings(), recipe)
    subsets = (Subset.of(shards, "train"), Subset.of(shards, "val"))
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()
    for later in recipe.all_members[1 : len(recipe.networks)]:
        _require_fit(later, recipe, subsets[0])
    teacher = teaching.teacher_of(recipe, shards, store, say)
    lessons = Lessons(teacher, recipe.distill) if teacher and recipe.distill else None
    with hardware.workers.together():
        return [
            _train_one(member, recipe, subsets, store, say, hardware=hardware, lessons=lessons)
            for member in recipe.all_members
        ]


def checkpoints(store: Path, shards: Path, recipe: Recipe) -> Path:
    """The folder in the store for trainings with these shards, this recipe and its teacher, and this code."""
    code = [file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py"))]
    architectures = [networks.digest(entry.network, entry.parsed_arguments) for entry in recipe.networks]
    parts = [sha256_file(shards / MANIFEST), recipe_digest(recipe), *architectures, keras.__version__, tf.__version__]
    parts += [*file_digests(recipe).values(), *([digest(recipe.distill.teacher)] if recipe.distill else [])]
    return store / hashlib.sha256(b"\0".join([*code, *map(str.encode, parts)])).hexdigest()[:32]


def build(entry: NetworkSettings, recipe: Recipe, policy: str = "float32") -> keras.Model:
    """The untrained network: a picture as `pixels.prepare` gives it in, {target: output} out.

    Raises:
        SettingsError: the architecture cannot be built for pictures of this size.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        image = keras.Input((recipe.input_size, recipe.input_size, recipe.channels), name="image")
        try:
            features = networks.load(entry.network).build(image, entry.targets.names, entry.parsed_arguments)
        except ValueError as error:  # as a layer with no pixel left
            told = str(error).partition("\n")[0]
            raise SettingsError(f"input_size = {recipe.input_size} does not suit {entry.network}: {told}") from None
        return keras.Model(image, heads.outputs(features, entry.targets), name=entry.name)
    finally:
        keras.config.set_dtype_policy(before)


def compile_network(
    model: keras.Model,
    entry: NetworkSettings,
    recipe: Recipe,
    steps: int,
    xla: Literal["auto"] | bool = False,
    *,
    workers: Workers = ALONE,
) -> None:
    """Give the network its optimizer with its variables, losses and metrics; `steps` is batches an epoch."""
    chosen = {name: getattr(entry.targets, name) for name in entry.targets.names}
    losses = {name: loss(head) for name, head in chosen.items()}
    if recipe.distill:
        losses = {name: distilled(losses[name], head, recipe.distill.temperature) for name, head in chosen.items()}
    if recipe.augmentation.mixup:
        losses = {name: mixup.mixed_loss(of_label) for name, of_label in losses.items()}
    model.compile(
        optimizer=optimizers.shared(recipe, steps, model.dtype_policy.name, workers.means),
        loss=losses,
        loss_weights={name: head.weight for name, head in chosen.items()},
        weighted_metrics={name: [heads.metric(head)] for name, head in chosen.items()},
        jit_compile=xla,
    )
    model.optimizer.build(model.trainable_variables)


def _require_fit(member: Member, recipe: Recipe, learning: Subset) -> None:
    """Refuse a network before those before it have trained for hours: it is built, and given what it starts from."""
    _, entry, _ = member
    alone = recipe.of(entry)
    model = normalization.fused(build(entry, alone))
    refit.require_room(model, entry, learning.rows)
    _initialize(model, member, alone)
    if alone.heads_first:
        heads_first.require_pooled(model, entry, learning)


def _train_one(
    member: Member,
    recipe: Recipe,
    subsets: tuple[Subset, Subset],
    store: Path,
    say: Say,
    *,
    hardware: Hardware,
    lessons: Lessons | None,
) -> Trained:
    name, entry, number = member
    recipe = recipe.of(entry)
    recipe = recipe.model_copy(update={"seed": recipe.seed + number - 1})  # nothing else differs between members
    keras.utils.set_random_seed(recipe.seed)
    if recipe.seed % SEEDS == 0:  # which TensorFlow takes for none, and then cannot shuffle by a seed that is a tensor
        tf.random.set_seed(1)
    learning, judging = subsets
    workers = hardware.workers
    names, steps = entry.targets.names, inputs.steps(learning, recipe)
    saved = store / f"{name}.npz"

    def tell(line: str) -> None:
        say(f"{name}: {line}")

    with hardware.strategy.scope():
        model = normalization.fused(build(entry, recipe, hardware.policy))
        refit.require_room(model, entry, learning.rows)
        compile_network(model, entry, recipe, steps, hardware.xla, workers=workers)
        said = _initialize(model, member, recipe)
        best, progress = checkpoint.restore(saved, model)
        if progress.epoch:
            tell(f"trained before, up to epoch {progress.epoch}/{recipe.epochs}")
        else:
            if said:
                tell(said)
            if workers.chief:  # whose network the others are given
                heads_first.learn_heads(model, entry, recipe, learning, tell)
        workers.begin(model, progress)
    judged = inputs.judging(judging, recipe, names)
    judged = judged.map(mixup.unmixed) if recipe.augmentation.mixup else judged
    pace = Pace(name, recipe.epochs, steps, recipe.batch_size, say)
    own = _own_statistics(entry, recipe, learning) if recipe.optimizer.ema_momentum is not None else None
    watch = _Watch(name, names, recipe, model, judged, own, saved, say, best, progress, pace, workers)
    if not progress.finished:
        trained = sum(variable.numpy().size for variable in model.trainable_variables)
        tell(f"{model.count_params():,} parameters, {trained:,} of them trained")
        tell(f"{hardware.told}; {learning.rows} rows, {steps} batches of {recipe.batch_size} an epoch")
        between = {"on_epoch_begin": watch.begin, "on_train_batch_end": watch.step, "on_epoch_end": watch.end}
        model.fit(
            workers.part(inputs.training(learning, recipe, names, progress.epoch, lessons)),
            initial_epoch=progress.epoch,
            epochs=recipe.epochs,
            steps_per_epoch=steps,
            callbacks=[keras.callbacks.LambdaCallback(**between)],
            shuffle=False,  # the input is shuffled already
            verbose=0,
        )
    result = build(entry, recipe)
    result.set_weights(watch.best)
    if workers.chief:
        result = refit.refit(result, entry, recipe, learning, tell)
    adjustment.adjust(result, entry.targets, learning.label_counts)
    rounding.round_weights(result, recipe.serving)
    return Trained(name, entry, result, progress.history)


def _initialize(model: keras.Model, member: Member, recipe: Recipe) -> str | None:
    """Put into the network what it starts from, a bundle's weights or pretrained ones of its own; say what they are."""
    if recipe.start is not None:
        return starting.start(model, member, Path(recipe.start), recipe)
    return networks.initialize(member.settings.network, model, member.settings.parsed_arguments)


def _own_statistics(entry: NetworkSettings, recipe: Recipe, learning: Subset) -> averaging.OwnStatistics:
    """What gives averaged weights their own statistics, from pictures of the training set as they are served."""
    batches = inputs.judging(learning, recipe, entry.targets.names).take(math.ceil(averaging.ROWS / recipe.batch_size))
    return averaging.OwnStatistics(build(entry, recipe), batches.map(lambda pictures, labels, weights: pictures))


@dataclass
class _Watch:
    """What happens between steps and epochs: judging, keeping the best, the learning rate, stopping, the checkpoint."""

    name: str  # of the network
    targets: tuple[str, ...]
    recipe: Recipe
    model: keras.Model
    judging: tf.data.Dataset
    averaged: averaging.OwnStatistics | None  # where the recipe keeps a moving average of the weights
    saved: Path
    say: Say
    best: Arrays
    progress: Progress
    pace: Pace
    workers: Workers

    def begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """An epoch begins."""
        self.pace.begin()

    def step(self, batch: int, logs: dict[str, float]) -> None:
        """A batch, counted from 0, has ended; its logs are the epoch's means so far, which a first NaN spoils."""
        epoch = self.progress.epoch + 1
        self._require_number(logs["loss"], f"the loss is {logs['loss']} at step {batch + 1} of epoch {epoch}")
        self.pace.step(epoch, batch + 1, logs["loss"])

    def end(self, epoch: int, logs: dict[str, float]) -> None:
        """An epoch has ended with these means over its batches."""
        progress = self.progress
        rate = optimizers.rate(self.model.optimizer)
        loss = self.workers.settle(self.model, logs["loss"])
        judged = self._judge()
        self._require_number(judged["loss"], f"the validation loss is {judged['loss']} after epoch {epoch + 1}")
        progress.epoch = epoch + 1
        scores = heads.scores(judged, self.targets)
        losses = {"loss": loss, "val_loss": judged["loss"]}
        judged_by = {f"val_{name}": score for name, score in scores.items()}
        row = {"network": self.name, "epoch": progress.epoch, **losses, **judged_by, "learning_rate": rate}
        progress.history.append(row)
        self._decide(judged["loss"])
        if self.workers.chief:
            checkpoint.save(self.saved, self.model, self.best, progress)
        self.say(self._line(row, scores, self.pace.seconds))
        self.model.stop_training = progress.finished

    def _require_number(self, loss: float, told: str) -> None:
        """Stop a training that has come to NaN or infinity; the last good epoch stays in the store."""
        if math.isfinite(loss):
            return
        epoch = self.progress.epoch
        kept = f"the weights of epoch {epoch} are kept in {self.saved}" if epoch else "no epoch had ended"
        raise TrainingError(f"{self.name}: {told}; {kept}; lower optimizer.learning_rate or set clip_norm")

    def _judge(self) -> dict[str, float]:
        """Loss and metrics on the validation shard; the weights that did best are kept."""
        if self.averaged:
            as_they_go = self.model.get_weights()
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
            self.model.set_weights(self.averaged.of(self.model.get_weights()))
        found: dict[str, float] = self.model.evaluate(self.judging, return_dict=True, verbose=0)
        judged = dict(zip(found, map(float, self.workers.chiefs([*found.values()])), strict=True))
        if judged["loss"] < self.progress.best:
            self.best = self.model.get_weights()
        if self.averaged:
            self.model.set_weights(as_they_go)
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
            rate = optimizers.rate(optimizer)
            optimizer.learning_rate = min(rate, max(rate * schedule.factor, schedule.minimum))
            progress.held = 0
        stop = progress.waited >= self.recipe.early_stopping.patience
        progress.finished = stop or progress.epoch == self.recipe.epochs

    def _line(self, row: dict[str, Any], scores: dict[str, float], seconds: float) -> str:
        told = (f"{name.replace('_', ' ')} {score:.3f}" for name, score in scores.items())
        where = f"{row['network']}: epoch {row['epoch']}/{self.recipe.epochs}, {seconds:.1f} s"
        losses = f"loss {row['loss']:.3f}, validation {row['val_loss']:.3f}"
        return ", ".join([where, losses, *told, f"learning rate {row['learning_rate']:.2g}"])
