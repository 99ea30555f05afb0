"""Several machines that train together: what TF_CONFIG says, what is refused, and that two train as one does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from faceline.datasets.records import ShardSettings
from faceline.errors import SettingsError, TrainingError
from faceline.gates.passes import write_pass
from faceline.learning import optimizers, training
from faceline.learning.answering import load_network
from faceline.learning.card import read_card
from faceline.learning.checkpoint import Progress
from faceline.learning.devices import HardwareSettings, choose
from faceline.learning.workers import ALONE, Machines, Workers
from tests.imports import ROOT
from tests.test_train import SIDE, write_params
from tests.toys import recipe, write_shards

TWO = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}


def name(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))


@pytest.mark.parametrize(
    ("cluster", "task", "index"),
    [
        ({"worker": ["a:1", "b:1"]}, {"type": "worker", "index": 0}, 0),
        ({"worker": ["a:1", "b:1"]}, {"type": "worker", "index": 1}, 1),
        ({"chief": ["a:1"], "worker": ["b:1"]}, {"type": "chief", "index": 0}, 0),
        ({"chief": ["a:1"], "worker": ["[::1]:2"]}, {"type": "worker", "index": 0}, 1),
    ],
)
def test_tf_config_says_which_of_the_machines_this_one_is(
    cluster: dict[str, Any], task: dict[str, Any], index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    name({"cluster": cluster, "task": task, "environment": "cloud"}, monkeypatch)
    machines = Machines.named()
    assert machines is not None
    assert (machines.count, machines.index) == (2, index)


@pytest.mark.parametrize("config", ["", {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}])
def test_one_machine_trains_alone(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name(config, monkeypatch)
    assert Machines.named() is None
    assert choose(HardwareSettings(), recipe()).workers is ALONE


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{cluster", "TF_CONFIG is no JSON"),
        ("3", "TF_CONFIG"),
        ({"cluster": TWO["cluster"]}, r"TF_CONFIG\.task is missing"),
        ({**TWO, "cluster": {"worker": ["a:1", "b"]}}, r"TF_CONFIG\.cluster\.worker\.1 = 'b'"),
        ({**TWO, "cluster": {"ps": ["a:1"]}}, r"TF_CONFIG\.cluster\.ps is not a setting"),
        ({**TWO, "task": {"type": "evaluator", "index": 0}}, r"TF_CONFIG\.task\.type = 'evaluator'"),
        ({**TWO, "task": {"type": "worker", "index": 2}}, "task.index = 2: cluster.worker has 2"),
    ],
)
def test_a_malformed_tf_config_is_refused(config: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name(config, monkeypatch)
    with pytest.raises(SettingsError, match=message) as caught:
        choose(HardwareSettings(), recipe())
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        ({"xla": True}, {}, r"hardware\.xla = True: not with strategy workers"),
        ({}, {"batch_size": 15}, "batch_size = 15: must be a multiple of 2, the workers it is for"),
    ],
)
def test_what_workers_cannot_do_is_refused(
    settings: dict[str, Any], changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name(TWO, monkeypatch)
    with pytest.raises(SettingsError, match=message):
        choose(HardwareSettings(**settings), recipe(**changes))


def test_a_worker_has_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    name(TWO, monkeypatch)
    cards = [tf.config.PhysicalDevice(f"/physical_device:GPU:{index}", "GPU") for index in range(2)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: cards)
    with pytest.raises(SettingsError, match="a worker trains on one GPU, but has 2"):
        choose(HardwareSettings(), recipe())


def test_the_strategy_goes_before_tf_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(SettingsError, match=r"hardware\.strategy = 'workers': TF_CONFIG must name the machines"):
        choose(HardwareSettings(strategy="workers"), recipe())
    name(TWO, monkeypatch)
    assert choose(HardwareSettings(strategy="one"), recipe()).workers is ALONE


def test_each_worker_has_its_rows_of_a_batch() -> None:
    batches = tf.data.Dataset.range(8).map(lambda row: (row, {"age": row + 10})).batch(4, drop_remainder=True)
    second = Workers(1, 2, add=tf.identity).part(batches)
    assert [rows.numpy().tolist() for rows, _ in second] == [[2, 3], [6, 7]]
    assert [labels["age"].numpy().tolist() for _, labels in second] == [[12, 13], [16, 17]]


def test_gradients_are_averaged_before_they_are_shortened() -> None:
    # The other worker's gradients are 0 for the first variable, and twice this one's for the second.
    workers = Workers(0, 2, add=lambda vector: vector + tf.constant([0.0, 0.0, 2.0]) * vector)
    assert workers.means is not None
    optimizer = optimizers.meeting(keras.optimizers.SGD(1.0, global_clipnorm=0.5), "float32", workers.means)
    variables = [keras.Variable([0.0, 0.0]), keras.Variable([0.0])]
    optimizer.apply([tf.constant([6.0, 0.0]), tf.constant([8 / 3])], variables)
    assert np.allclose(variables[0], [-0.3, 0])  # the mean (3, 0, 4) has length 5
    assert np.allclose(variables[1], [-0.4])


def test_all_begin_as_the_chief_and_draw_other_numbers() -> None:
    settings = recipe()
    models = [training.build(settings.networks[0], settings) for _ in range(2)]
    for model in models:
        training.compile_network(model, settings.networks[0], settings, 1)
    chief, second = models
    sent: list[np.ndarray] = []
    Workers(0, 2, add=lambda vector: [sent.append(vector.numpy()), vector][1]).begin(chief, Progress(3, 1.5, 2, 1))
    progress, told = Progress(), iter(sent)
    Workers(1, 2, add=lambda vector: vector + next(told)).begin(second, progress)
    assert progress == Progress(3, 1.5, 2, 1)
    for mine, theirs in zip(second.variables, chief.variables, strict=True):
        drawn = np.array([1, 0]) if "seed_generator" in mine.path else 0
        assert np.array_equal(mine.numpy(), theirs.numpy() + drawn), mine.path


def test_running_statistics_and_losses_become_the_mean() -> None:
    layer = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((2,)), layer])
    layer.moving_mean.assign([1.0, 2.0])
    loss = Workers(1, 2, add=lambda vector: 3 * vector).settle(model, 4.0)
    assert loss == pytest.approx(6)
    assert np.allclose(layer.moving_mean, [1.5, 3])


def test_another_training_and_a_lost_worker_are_told() -> None:
    with pytest.raises(SettingsError, match="worker 2 would train something else than the chief"):
        Workers(1, 2, add=lambda vector: vector + tf.constant([10, 11], tf.float64)).require_same("ac")

    def lose(vector: tf.Tensor) -> tf.Tensor:
        raise tf.errors.UnavailableError(None, None, "gone")

    with pytest.raises(TrainingError, match="worker 1 of 2: another worker has stopped"):
        Workers(0, 2, add=lose).wait()


@pytest.mark.slow
def test_two_workers_train_as_one_does_and_go_on_when_the_chief_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shards = write_shards(tmp_path / "shards", ShardSettings(formats=("tfrecord",), rows=20, seed=1))
    optimizer = {"name": "adamw", "learning_rate": 0.003, "ema_momentum": 0.8, "clip_norm": 1.0}
    whole = {"network": "system_d", "arguments": {"filters": 2, "dropout": 0.0}}  # workers drop other features
    heads = {"age": {"loss": "dldl"}, "gender": {"loss": "crossentropy"}}
    networks = [{**whole, "targets": {target: head}} for target, head in heads.items()]
    write_params(SIDE, networks=networks, optimizer=optimizer, epochs=8)
    write_pass(Path("gates"), "shard", shards)

    alone = start("alone", {})
    assert alone.wait() == 0, told("alone")
    chief, second = start_both()
    while not list(Path("store-chief").rglob("*.npz")):
        assert chief.poll() is None, told("chief")
        time.sleep(0.02)
    chief.terminate()
    assert (chief.wait(timeout=10), second.wait()) == (-signal.SIGTERM, 2)
    assert "another worker has stopped" in told("second")

    chief, second = start_both()
    assert chief.wait() == 0, told("chief")
    assert second.wait() == 0, told("second")
    assert "system_d-age: worker 1 of 2, " in told("chief")
    assert "system_d-age: epoch 1/8" not in told("chief") and "system_d-age: epoch 8/8" in told("chief")
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith("-second")]
    histories = [pd.read_csv(f"history-{name}").drop(columns="network") for name in ("alone", "chief")]
    assert np.allclose(*histories, rtol=1e-4, equal_nan=True)
    for target in ("age", "gender"):
        both = [weights(Path(f"output-{name}"), target) for name in ("alone", "chief")]
        assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(*both, strict=True))


@pytest.mark.slow
def test_a_worker_that_waits_for_the_others_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(SIDE)
    write_pass(
        Path("gates"), "shard", write_shards(tmp_path / "shards", ShardSettings(formats=("tfrecord",), rows=20, seed=1))
    )
    waiting = start("alone", both()[1])
    while "waiting for all to be there" not in told("alone"):
        assert waiting.poll() is None, told("alone")
        time.sleep(0.1)
    time.sleep(2)  # for TensorFlow to begin to wait
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(timeout=10) == -signal.SIGINT


def weights(bundle: Path, target: str) -> list[np.ndarray]:
    file = next(file for file in read_card(bundle).networks if target in file.targets)
    found: list[np.ndarray] = load_network(bundle, file).get_weights()
    return found


def both() -> list[dict[str, Any]]:
    """TF_CONFIG of two workers of this machine."""
    with socket.socket() as first, socket.socket() as second:
        for found in (first, second):
            found.bind(("localhost", 0))
        machines = [f"localhost:{found.getsockname()[1]}" for found in (first, second)]
    return [{"cluster": {"worker": machines}, "task": {"type": "worker", "index": index}} for index in range(2)]


def start_both() -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """The stage as two workers of this machine."""
    chief, second = both()
    return start("chief", chief), start("second", second)


def start(name: str, config: dict[str, Any]) -> subprocess.Popen[bytes]:
    """The stage, whose outputs and messages are called after `name`."""
    options = [f"--{option}={option}-{name}" for option in ("store", "history", "output")]
    program = [sys.executable, "-m", "stages.train", "--shards=shards", "--gates=gates", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CONFIG": json.dumps(config) if config else ""}
    with Path(f"said.{name}").open("wb") as said:
        return subprocess.Popen(program, env=environment, stderr=said)


def told(name: str) -> str:
    return Path(f"said.{name}").read_text()
