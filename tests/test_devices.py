"""What a training runs on: what `auto` takes, what is refused, and two devices that train as one does."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from faceline.datasets.records import ShardSettings
from faceline.errors import SettingsError
from faceline.learning.devices import HardwareSettings, choose, dtype_policy
from tests.imports import ROOT
from tests.toys import recipe, write_shards

PROGRAM = """
import json, sys
from pathlib import Path
import tensorflow as tf
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
from faceline.learning import devices, training
from faceline.learning.recipe import Recipe
shards, store, recipe = Path(sys.argv[1]), Path(sys.argv[2]), Recipe.model_validate_json(sys.argv[3])
found = []
for strategy in ("one", "mirrored"):
    hardware = devices.choose(devices.HardwareSettings(strategy=strategy), recipe)
    trained = training.train(recipe, shards, store / strategy, lambda line: None, hardware)[0]
    weights = [values.tolist() for values in (trained.model.get_weights()[0], trained.model.get_weights()[-1])]
    found.append([hardware.told, [row["val_loss"] for row in trained.history], weights])
print(json.dumps(found))
"""


TOO_LARGE = """
import json
import tensorflow as tf
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from faceline.learning import devices, optimizers
from tests.toys import recipe
settings = recipe(optimizer={"name": "sgd", "learning_rate": 1.0}, schedule={"name": "constant"})
strategy = devices.choose(devices.HardwareSettings(strategy="mirrored"), settings).strategy
with strategy.scope():
    weight = keras.Variable([1.0, 1.0])
    optimizer = optimizers.shared(settings, 1, "mixed_float16")
    optimizer.build([weight])
    optimizer.dynamic_scale.assign(1.0)
def step(one, two):
    def of_device():
        first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        optimizer.apply([tf.where(first, one, two)], [weight])
    tf.function(lambda: strategy.run(of_device))()
    return keras.ops.convert_to_numpy(weight).tolist()
found = [step([0.5, 0.5], [float("inf"), 0.5])]
optimizer.dynamic_scale.assign(1.0)
print(json.dumps([*found, step([0.25, 0.75], [0.75, 0.25])]))
"""


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that lets TensorFlow say that it has some GPUs, which this machine may lack."""

    def have(count: int, capability: tuple[int, int] = (8, 0)) -> None:
        cards = [tf.config.PhysicalDevice(f"/physical_device:GPU:{index}", "GPU") for index in range(count)]
        details = {"device_name": "A card", "compute_capability": capability}
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: cards)
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda card: details)

    return have


def test_without_a_gpu_the_processor_trains_and_xla_does_not_compile(gpus: Callable[..., None]) -> None:
    gpus(0)
    found = choose(HardwareSettings(), recipe(precision="mixed_bfloat16"))
    assert found.told.endswith("CPU cores, bfloat16, no XLA")
    assert found.strategy.num_replicas_in_sync == 1
    assert (found.policy, found.xla) == ("mixed_bfloat16", False)


@pytest.mark.parametrize(("deterministic", "told"), [(False, "XLA"), (True, "no XLA")])
def test_on_one_gpu_xla_compiles_unless_the_same_weights_are_asked_for(
    gpus: Callable[..., None], deterministic: bool, told: str
) -> None:
    gpus(1)
    found = choose(HardwareSettings(), recipe(deterministic=deterministic))
    assert found.told == f"1 x A card, float32, {told}"


def test_on_several_gpus_batches_are_shared_out(gpus: Callable[..., None]) -> None:
    gpus(2)
    found = choose(HardwareSettings(), recipe())
    assert isinstance(found.strategy, tf.distribute.MirroredStrategy)
    assert not isinstance(choose(HardwareSettings(strategy="one"), recipe()).strategy, tf.distribute.MirroredStrategy)


@pytest.mark.parametrize(
    ("capability", "policy"), [((9, 0), "mixed_bfloat16"), ((7, 5), "mixed_float16"), ((6, 1), "float32")]
)
def test_auto_takes_the_numbers_that_a_gpu_is_fast_with(
    gpus: Callable[..., None], capability: tuple[int, int], policy: str
) -> None:
    gpus(1, capability)
    assert dtype_policy("auto") == policy
    assert dtype_policy("float32") == "float32"


def test_xla_is_refused_where_devices_add_up_their_gradients() -> None:
    with pytest.raises(SettingsError, match=r"hardware\.xla = True: not with strategy mirrored"):
        choose(HardwareSettings(strategy="mirrored", xla=True), recipe())


def test_xla_can_be_asked_for_on_a_processor() -> None:
    assert choose(HardwareSettings(xla=True), recipe(deterministic=False)).xla is True


def test_xla_is_refused_where_keras_would_leave_it_out_in_silence() -> None:
    with pytest.raises(SettingsError, match=r"hardware\.xla = True: not with a recipe that is deterministic"):
        choose(HardwareSettings(xla=True), recipe(deterministic=True))


DROPPING_NONE = {"filters": 2, "dropout": 0.0}  # devices would drop other features than one does
AGES = {"age": {"loss": "dldl"}}
WHOLE = {"networks": [{"network": "system_d", "arguments": DROPPING_NONE, "targets": AGES}], "epochs": 2}
SHORTENED = {**WHOLE, "optimizer": {"name": "sgd", "learning_rate": 0.1, "clip_norm": 0.05}}
HEADS = {  # after them no weight moves; the statistics of normalization do, which each device takes of its own rows
    "networks": [{"network": "compact", "arguments": {"width": 2, "dropout": 0.0}, "targets": AGES}],
    "heads_first": {"epochs": 5, "learning_rate": 0.01},
    "optimizer": {"name": "sgd", "learning_rate": 1e-12},
    "epochs": 1,
}


@pytest.mark.parametrize(
    ("changes", "alike"),
    [(WHOLE, 1e-4), (SHORTENED, 1e-4), (HEADS, 1e-2)],
    ids=["all of it", "gradients shortened", "heads first"],
)
def test_two_devices_train_as_one_does(tmp_path: Path, changes: dict[str, Any], alike: float) -> None:
    shards = write_shards(tmp_path / "shards", ShardSettings(formats=("tfrecord",), rows=20, seed=1))
    settings = recipe(batch_size=14, **changes)  # the last batch of validation is smaller
    arguments = [str(shards), str(tmp_path), settings.model_dump_json()]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    one, two = json.loads(done.stdout)
    assert "as 2 devices" in two[0] and "devices" not in one[0]
    assert two[1] == pytest.approx(one[1], rel=alike)
    for a, b in zip(tf.nest.flatten(one[2]), tf.nest.flatten(two[2]), strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_a_gradient_too_large_for_float16_on_one_device_is_a_step_of_none() -> None:
    done = subprocess.run([sys.executable, "-c", TOO_LARGE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[1.0, 1.0], [0.0, 0.0]]


def test_a_batch_that_devices_cannot_share_evenly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class TwoDevices:
        num_replicas_in_sync = 2

    monkeypatch.setattr("faceline.learning.devices._mirrored", TwoDevices)
    with pytest.raises(SettingsError, match="batch_size = 15: must be a multiple of 2"):
        choose(HardwareSettings(strategy="mirrored"), recipe(batch_size=15))
