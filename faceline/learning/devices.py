"""What a training runs on: processor, one GPU or several; the numbers it computes in; whether XLA compiles it.

`auto` takes what is there. TensorFlow is imported inside functions, so that settings can be checked without it.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from faceline.errors import SettingsError
from faceline.learning.recipe import Precision, Recipe
from faceline.params import Settings

if TYPE_CHECKING:
    import tensorflow as tf

TF_CONFIG = "TF_CONFIG"  # the environment's variable that names the machines of a training
AMPERE, VOLTA = (8, 0), (7, 0)  # compute capabilities of the first GPUs with bfloat16, and with float16 tensor cores


class HardwareSettings(Settings):
    """What the training runs on. Results depend on it by rounding alone, so nothing reruns when it changes."""

    strategy: Literal["auto", "one", "mirrored"] = "auto"  # auto: mirrored where there are several GPUs
    xla: Literal["auto"] | bool = "auto"  # auto: on one GPU, unless the recipe is deterministic


@dataclass(frozen=True)
class Hardware:
    """What one training runs on.

    Attributes:
        strategy: how TensorFlow spreads each batch; a batch is all devices' together.
        policy: Keras's dtype policy.
        xla: what Keras takes as `jit_compile`.
        told: all of it in a few words.
    """

    strategy: "tf.distribute.Strategy"
    policy: str
    xla: Literal["auto"] | bool
    told: str


def choose(settings: HardwareSettings, recipe: Recipe) -> Hardware:
    """What to train on.

    Raises:
        SettingsError: XLA with several devices, a batch that they cannot share evenly, or several machines.
    """
    import tensorflow as tf

    _require_one_machine()
    gpus = tf.config.list_physical_devices("GPU")
    mirrored = settings.strategy == "mirrored" or (settings.strategy == "auto" and len(gpus) > 1)
    if mirrored and settings.xla is True:
        # Keras compiles a replica's whole step, in which the replicas would have to meet.
        raise SettingsError("hardware.xla = True: not with strategy mirrored, whose devices add up their gradients")
    strategy = _mirrored() if mirrored else tf.distribute.get_strategy()
    devices = strategy.num_replicas_in_sync
    if recipe.batch_size % devices:
        raise SettingsError(f"batch_size = {recipe.batch_size}: must be a multiple of {devices}, the devices it is for")
    # On processors XLA takes half as long again as TensorFlow's own kernels (compact at width 24, bfloat16).
    fits = bool(gpus) and not mirrored and not recipe.deterministic
    xla: Literal["auto"] | bool = settings.xla if settings.xla != "auto" else "auto" if fits else False
    policy = dtype_policy(recipe.precision)
    told = f"{_named(gpus, devices)}, {policy.removeprefix('mixed_')}, {'XLA' if xla else 'no XLA'}"
    return Hardware(strategy, policy, xla, told)


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


def _require_one_machine() -> None:
    """Refuse what would train on several machines: Keras 3.15 cannot, its fit() breaks over several workers."""
    text = os.environ.get(TF_CONFIG)
    if not text:
        return
    try:
        machines = sum(len(json.loads(text)["cluster"].get(kind, ())) for kind in ("chief", "worker"))
    except (ValueError, TypeError, LookupError, AttributeError):
        raise SettingsError(f"{TF_CONFIG} = {text}: not what TensorFlow documents; unset it") from None
    if machines > 1:
        raise SettingsError(f"{TF_CONFIG} names {machines} machines, but a training runs on one; unset it")


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
