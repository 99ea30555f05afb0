"""Several machines that train one network together: each takes its rows of every batch.

Keras's own way, `fit` under MultiWorkerMirroredStrategy, does not work (keras 3.15, its trainer for TensorFlow: before
the first step it makes a tensor of a batch that has parts, and after it means numbers over an axis that they lack;
https://github.com/keras-team/keras/issues/20585). So each worker fits a network of its own, as one machine does, and
its optimizer takes the mean of all workers' gradients, as Horovod does it (Sergeev & Del Balso 2018,
https://arxiv.org/abs/1802.05799). TensorFlow's strategy brings the workers together and adds up. The first of them is
the chief: what it has at the start and what it judges holds for all.
"""

import dataclasses
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from faceline.errors import SettingsError, TrainingError
from faceline.params import Settings, parse_settings

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from faceline.learning.checkpoint import Progress

TF_CONFIG = "TF_CONFIG"  # the environment's variable that names the machines of a training, as TensorFlow documents it
Add = Callable[["tf.Tensor"], "tf.Tensor"]
Address = Annotated[str, Field(pattern=r"^[^\s:/]+:\d+$|^\[[0-9a-fA-F:]+\]:\d+$")]  # host:port


class _Cluster(Settings):
    chief: Annotated[tuple[Address, ...], Field(max_length=1)] = ()
    worker: tuple[Address, ...] = ()


class _Task(Settings):
    type: Literal["chief", "worker"]
    index: Annotated[int, Field(ge=0)]


class Machines(Settings):
    """What TF_CONFIG says: the machines of a training, and which of them this one is."""

    cluster: _Cluster
    task: _Task
    environment: str | None = None  # Google's platforms add it; nothing depends on it
    rpc_layer: Literal["grpc"] | None = None

    @classmethod
    def named(cls) -> Self | None:
        """Those that the environment names; None where it names none, or this one alone.

        Raises:
            SettingsError: the variable is malformed.
        """
        text = os.environ.get(TF_CONFIG)
        if not text:
            return None
        try:
            values = json.loads(text)
        except ValueError as error:
            raise SettingsError(f"{TF_CONFIG} is no JSON ({error}): {text}") from None
        found = parse_settings(cls, values, TF_CONFIG, Path("the environment"))
        return found if found.count > 1 else None

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.cluster.chief) + len(self.cluster.worker)

    @property
    def index(self) -> int:
        """This one's number; 0 is the chief, which is the first worker where none is called so."""
        return self.task.index + (len(self.cluster.chief) if self.task.type == "worker" else 0)

    @property
    def address(self) -> str:
        """Where this one listens."""
        return (*self.cluster.chief, *self.cluster.worker)[self.index]

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        there = len(getattr(self.cluster, self.task.type))
        if self.task.index >= there:
            raise ValueError(f"task.index = {self.task.index}: cluster.{self.task.type} has {there}, counted from 0")
        return self


@dataclass(frozen=True)
class Workers:
    """The workers of a training, and this one among them; by default it is alone, and nothing here does anything.

    All of them must call the same methods in the same order: each call waits for the others.
    """

    index: int = 0
    count: int = 1
    add: Add | None = None  # of a vector (n,): the sum of all workers' ones

    @property
    def chief(self) -> bool:
        """Whether this one keeps what is made: checkpoints, the bundle."""
        return self.index == 0

    def part(self, batches: "tf.data.Dataset") -> "tf.data.Dataset":
        """This one's rows of each batch, whose number all can share evenly."""
        import tensorflow as tf

        def cut(tensor: tf.Tensor) -> tf.Tensor:
            rows = tensor.shape[0] // self.count
            return tensor[self.index * rows : (self.index + 1) * rows]

        return batches.map(lambda *batch: tf.nest.map_structure(cut, batch)) if self.add else batches

    @property
    def means(self) -> Callable[[Sequence[Any]], list[Any]] | None:
        """What gives the means of all workers' gradients; None where there is but one."""
        return partial(_means, add=self.add, count=self.count) if self.add else None

    def begin(self, model: "keras.Model", progress: "Progress") -> None:
        """Give all the chief's network, optimizer and progress, and each its own random numbers for its own rows."""
        if not self.add:
            return
        for variable in [*model.variables, *model.optimizer.variables]:
            value = self.chiefs(np.ravel(variable)).reshape(variable.shape)
            if variable.name == "seed_generator_state":  # a seed, and how often it was drawn with
                value += [self.index, 0]
            variable.assign(value.astype(variable.dtype))
        names = [field.name for field in dataclasses.fields(progress) if field.name != "history"]
        for name, number in zip(names, self.chiefs([getattr(progress, name) for name in names]), strict=True):
            setattr(progress, name, type(getattr(progress, name))(number))

    def settle(self, model: "keras.Model", loss: float) -> float:
        """The mean of the workers' losses of an epoch; the running statistics of `model` become the mean of theirs.

        They move linearly, so it is as if their means had moved.
        """
        if not self.add:
            return loss
        running = [variable for variable in model.non_trainable_variables if variable.dtype == "float32"]
        *means, mean = _means([*running, loss], self.add, self.count)
        for variable, value in zip(running, means, strict=True):
            variable.assign(value)
        return float(mean)

    def chiefs(self, numbers: Sequence[float] | np.ndarray) -> np.ndarray:
        """The chief's numbers, float64 (n,), in which all integers here are exact."""
        import tensorflow as tf

        mine = np.asarray(numbers, np.float64)
        return self.add(tf.constant(mine if self.chief else np.zeros_like(mine))).numpy() if self.add else mine

    def wait(self) -> None:
        """Until all others wait, too; TrainingError where one has stopped."""
        with self.together():
            self.chiefs([0])

    def require_same(self, digest: str) -> None:
        """Refuse to train something else than the chief; `digest` is hexadecimal.

        Raises:
            SettingsError: the chief's digest is another one.
        """
        mine = [int(digit, 16) for digit in digest]
        with self.together():
            same = list(self.chiefs(mine)) == mine
        if not same:
            what = "its code, params.yaml, shards, precision, or version of Keras or TensorFlow differs"
            raise SettingsError(f"worker {self.index + 1} would train something else than the chief: {what}")

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within it, the loss of another worker is told.

        Raises:
            TrainingError: another worker has ended before it should.
        """
        import tensorflow as tf

        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError):
            if not self.add:
                raise
            told = "another worker has stopped, and says why; start all again to go on from the last epoch's end"
            raise TrainingError(f"worker {self.index + 1} of {self.count}: {told}") from None


ALONE = Workers()


def join(machines: Machines, say: Callable[[str], None]) -> Workers:
    """Wait until all workers are there.

    Raises:
        SettingsError: this one cannot listen at its address, or the others are not there in time.
    """
    import tensorflow as tf

    say(f"worker {machines.index + 1} of {machines.count}: waiting for all to be there")
    try:
        with _stopped_by_signals():
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise SettingsError(f"{TF_CONFIG}: {machines.address} cannot meet the others: {error.message}") from None

    def of_replica(vector: tf.Tensor) -> tf.Tensor:
        # The copy is on the replica's device, which the sum must know; in a graph the vector itself has none yet.
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(vector))

    add = tf.function(lambda vector: strategy.run(of_replica, (vector,)), reduce_retracing=True, autograph=False)
    return Workers(machines.index, machines.count, add)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let Ctrl-C end the process while TensorFlow waits, when Python does not hear it; give SIGTERM, which TensorFlow
    takes for itself, back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _means(values: Sequence[Any], add: Add, count: int) -> list[Any]:
    """The means over all workers of float32 tensors; None, where there is no gradient, stays."""
    import tensorflow as tf

    given = [tf.convert_to_tensor(value, tf.float32) for value in values if value is not None]
    vector = tf.concat([tf.reshape(value, [-1]) for value in given], axis=0)
    parts = tf.split(add(vector) / count, [value.shape.num_elements() for value in given])
    means = iter([tf.reshape(part, value.shape) for part, value in zip(parts, given, strict=True)])
    return [None if value is None else next(means) for value in values]
