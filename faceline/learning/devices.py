"""What a training runs on: processor, one GPU, several, or several machines; the numbers it computes in; XLA.

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

TF_CONFIG = "TF_CONFIG"  # the environment's variable that names the machines of a training, and this one's place
AMPERE, VOLTA = (8, 0), (7, 0)  # compute capabilities of the first GPUs with bfloat16, and with float16 tensor cores


class HardwareSettings(Settings):
    """What the training runs on. Results depend on it by rounding alone, so nothing reruns when it changes."""

    strategy: Literal["auto", "one", "mirrored", "multi_worker"] = "auto"
    xla: Literal["auto"] | bool = "auto"  # auto: on one GPU, unless the recipe is deterministic


@dataclass(frozen=True)
class Hardware:
    """What one training runs on.

    Attributes:
        strategy: how TensorFlow spreads each batch; a batch is always all devices' together.
        policy: Keras's dtype policy.
        xla: what Keras takes as `jit_compile`.
        chief: whether this process writes what the training leaves.
        told: all of it in a few words.
    """

    strategy: "tf.distribute.Strategy"
    policy: str
    xla: Literal["auto"] | bool
    chief: bool
    told: str


def choose(settings: HardwareSettings, recipe: Recipe) -> Hardware:
    """What to train on; to be called before anything else is asked of TensorFlow, as several machines want it.

    Raises:
        SettingsError: several machines, and TF_CONFIG does not say which; or XLA with several devices.
    """
    import tensorflow as tf

    workers, place = _machines()
    gpus = tf.config.list_physical_devices("GPU")
    kind = settings.strategy
    if kind == "auto":
        kind = "multi_worker" if workers > 1 else "mirrored" if len(gpus) > 1 else "one"
    if kind == "multi_worker" and not workers:
        raise SettingsError(f"hardware.strategy = 'multi_worker': {TF_CONFIG} in the environment must name the workers")
    if kind != "one" and settings.xla is True:
        # Keras compiles a replica's whole step, in which the replicas would have to meet.
        raise SettingsError(f"hardware.xla = True: not with strategy {kind}, whose devices add up their gradients")
    strategy = _strategy(kind)
    # On processors XLA takes half as long again as TensorFlow's own kernels (compact at width 24, bfloat16).
    fits = bool(gpus) and kind == "one" and not recipe.deterministic
    xla: Literal["auto"] | bool = settings.xla if settings.xla != "auto" else "auto" if fits else False
    policy = dtype_policy(recipe.precision)
    devices = _devices(gpus, strategy.num_replicas_in_sync, workers if kind == "multi_worker" else 0, place)
    told = f"{devices}, {policy.removeprefix('mixed_')}, {'XLA' if xla else 'no XLA'}"
    return Hardware(strategy, policy, xla, kind != "multi_worker" or place == 0, told)


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


def _machines() -> tuple[int, int]:
    """How many machines TF_CONFIG names, 0 where it is absent, and which of them this one is; the chief is 0."""
    text = os.environ.get(TF_CONFIG)
    if not text:
        return 0, 0
    try:
        config: dict[str, Any] = json.loads(text)
        names = [(kind, index) for kind in ("chief", "worker") for index in range(len(config["cluster"].get(kind, ())))]
        return len(names), names.index((config["task"]["type"], int(config["task"]["index"])))
    except (ValueError, TypeError, LookupError, AttributeError):
        wanted = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        raise SettingsError(f"{TF_CONFIG} = {text}: must be like {wanted}") from None


def _strategy(kind: str) -> "tf.distribute.Strategy":
    import tensorflow as tf

    if kind == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if kind == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def _devices(gpus: list[Any], replicas: int, workers: int, place: int) -> str:
    """What there is, in words."""
    import tensorflow as tf

    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        here = f"{max(1, replicas // max(1, workers))} x {name}"
    else:
        here = f"{len(os.sched_getaffinity(0))} CPU cores"
        here += f" as {replicas} devices" if replicas > 1 and not workers else ""
    return f"machine {place + 1} of {workers}, {here}" if workers else here
