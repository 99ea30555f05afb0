"""What a training runs on: processor, one GPU or several; the numbers it computes in; whether XLA compiles it.

`auto` takes what is there. TensorFlow is imported inside functions, so that settings can be checked without it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from faceline.errors import SettingsError
from faceline.learning.recipe import Precision, Recipe
from faceline.learning.workers import ALONE, TF_CONFIG, Machines, Workers, join
from faceline.params import Settings

if TYPE_CHECKING:
    import tensorflow as tf

AMPERE, VOLTA = (8, 0), (7, 0)  # compute capabilities of the first GPUs with bfloat16, and with float16 tensor cores


class HardwareSettings(Settings):
    """What the training runs on. Results depend on it by rounding alone, so nothing reruns when it changes."""

    # auto: workers where TF_CONFIG names several machines, else mirrored where there are several GPUs
    strategy: Literal["auto", "one", "mirrored", "workers"] = "auto"
    xla: Literal["auto"] | bool = "auto"  # auto: on one GPU, unless the recipe is deterministic


@dataclass(frozen=True)
class Hardware:
    """What one training runs on.

    Attributes:
        strategy: how TensorFlow spreads each batch; a batch is all devices' together.
        policy: Keras's dtype policy.
        xla: what Keras takes as `jit_compile`.
        told: all of it in a few words.
        workers: the machines that train together, each on its part of a batch.
    """

    strategy: "tf.distribute.Strategy"
    policy: str
    xla: Literal["auto"] | bool
    told: str
    workers: Workers = ALONE


def choose(settings: HardwareSettings, recipe: Recipe, say: Callable[[str], None] = lambda line: None) -> Hardware:
    """What to train on; where several machines train, all of them have met by then.

    Raises:
        SettingsError: XLA with several devices, a batch that they cannot share evenly, or machines that cannot meet.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    machines = _machines(settings, len(gpus))
    mirrored = not machines and (settings.strategy == "mirrored" or (settings.strategy == "auto" and len(gpus) > 1))
    if (mirrored or machines) and settings.xla is True:
        # Keras compiles a replica's whole step, in which the replicas would have to meet.
        named = "mirrored" if mirrored else "workers"
        raise SettingsError(f"hardware.xla = True: not with strategy {named}, whose devices add up their gradients")
    if settings.xla is True and recipe.deterministic:
        raise SettingsError("hardware.xla = True: not with a recipe that is deterministic, for which Keras has no XLA")
    policy = dtype_policy(recipe.precision)
    strategy = _mirrored() if mirrored else tf.distribute.get_strategy()
    devices = strategy.num_replicas_in_sync
    sharing, what = (machines.count, "workers") if machines else (devices, "devices")
    if recipe.batch_size % sharing:
        raise SettingsError(f"batch_size = {recipe.batch_size}: must be a multiple of {sharing}, the {what} it is for")
    # On processors XLA takes half as long again as TensorFlow's own kernels (compact at width 24, bfloat16).
    fits = bool(gpus) and not mirrored and not machines and not recipe.deterministic
    xla: Literal["auto"] | bool = settings.xla if settings.xla != "auto" else "auto" if fits else False
    workers = join(machines, say) if machines else ALONE
    place = f"worker {workers.index + 1} of {workers.count}, " if machines else ""
    told = f"{place}{_named(gpus, devices)}, {policy.removeprefix('mixed_')}, {'XLA' if xla else 'no XLA'}"
    return Hardware(strategy, policy, xla, told, workers)


def dtype_policy(precision: Precision) -> str:
    """Keras's dtype policy; `auto` is mixed where the hardware is faster so: bfloat16, or float16 on older GPUs."""
    import tensorflow as tf

    if precision != "auto":
        return precision
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return "mixed_bfloat16" if capability >= AMPERE else "mixed_float16" if capability >= VOLTA else "float32"
    flags = Path("/proc/cpuinfo")  # Linux alone has it
    has = flags.exists() and any(flag in flags.read_text() for flag in ("avx512_bf16", "amx_bf16"))
    return "mixed_bfloat16" if has else "float32"


def _machines(settings: HardwareSettings, gpus: int) -> Machines | None:
    """The machines that train together; None where this one trains alone."""
    if settings.strategy not in ("auto", "workers"):
        return None
    machines = Machines.named()
    if settings.strategy == "workers" and machines is None:
        raise SettingsError(f"hardware.strategy = 'workers': {TF_CONFIG} must name the machines")
    if machines and gpus > 1:
        raise SettingsError(f"a worker trains on one GPU, but has {gpus}; start one for each, by CUDA_VISIBLE_DEVICES")
    return machines


def _mirrored() -> "tf.distribute.Strategy":
    """All GPUs; without any, the processor's logical devices."""
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _named(gpus: list[Any], devices: int) -> str:
    """The devices in words."""
    import tensorflow as tf

    if gpus:
        return f"{devices} x {tf.config.experimental.get_device_details(gpus[0]).get('device_name', 'GPU')}"
    return f"{len(os.sched_getaffinity(0))} CPU cores" + (f" as {devices} devices" if devices > 1 else "")
