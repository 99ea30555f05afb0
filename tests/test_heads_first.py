"""Heads that learn first: what is trained, from which labels, killed trainings, networks and sets that are refused."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from faceline.datasets.records import ShardSettings
from faceline.errors import SettingsError
from faceline.learning import heads_first, refit, training
from faceline.learning.devices import Hardware
from faceline.learning.inputs import Subset
from faceline.learning.recipe import Recipe
from faceline.learning.workers import Workers
from tests.toys import RECIPE, network, recipe, write_shards

SETTINGS = ShardSettings(formats=("tfrecord",), rows=20, seed=1)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
FIRST = {"epochs": 40, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("toys") / "shards", SETTINGS)


def settings(**changes: Any) -> Recipe:
    return recipe(**{"networks": [network()], "heads_first": FIRST, **changes})


def learned(wanted: Recipe, shards: Path) -> tuple[keras.Model, list[np.ndarray], list[str]]:
    """A network whose heads have learned; the weights that it had before; what was said."""
    keras.utils.set_random_seed(wanted.seed)
    model = training.build(wanted.networks[0], wanted)
    before, said = model.get_weights(), list[str]()
    heads_first.learn_heads(model, wanted.networks[0], wanted, Subset.of(shards, "train"), said.append)
    return model, before, said


def test_what_lies_behind_the_pooled_features_learns_and_the_rest_stays(shards: Path) -> None:
    wanted = settings()
    model, before, said = learned(wanted, shards)
    heads = {id(weight) for name in ("age", "gender", "race") for weight in model.get_layer(name).weights}
    for weight, value in zip(model.weights, before, strict=True):
        assert np.array_equal(weight.numpy(), value) == (id(weight) not in heads), weight.path
    count = sum(weight.numpy().size for name in ("age", "gender", "race") for weight in model.get_layer(name).weights)
    assert said[0].startswith(f"{count:,} parameters behind the pooled features learned first, ")


def test_they_learn_the_labels_and_a_missing_one_is_no_label(shards: Path) -> None:
    wanted = settings()
    model, _, _ = learned(wanted, shards)
    keras.utils.set_random_seed(wanted.seed)
    fresh = training.build(wanted.networks[0], wanted)
    targets = ("age", "gender", "race")
    losses = {}
    for name, judged in (("fresh", fresh), ("learned", model)):
        training.compile_network(judged, wanted.networks[0], wanted, 1)
        rows = Subset.of(shards, "train")
        losses[name] = judged.evaluate(training.inputs.judging(rows, wanted, targets), return_dict=True, verbose=0)
    for target in targets:
        assert losses["learned"][f"{target}_loss"] < losses["fresh"][f"{target}_loss"]
    _, labels = refit.extract(keras.Model(model.input, model.output["race"]), wanted, rows, ["race"])
    blind, _, _ = learned(settings(networks=[network("race")]), shards)
    answers, _ = refit.extract(keras.Model(blind.input, blind.output["race"]), wanted, rows, ["race"])
    unlabelled = np.isnan(labels["race"])
    share = (labels["race"] == 0).sum() / (~unlabelled).sum()
    assert share < 0.15 and unlabelled.mean() > 0.3  # as labels 0 these would make it .42
    assert abs(answers[:, 0].mean() - share) < 0.1


def test_a_training_goes_on_without_them_and_ends_the_same(shards: Path, tmp_path: Path) -> None:
    said = list[str]()

    def kill(line: str) -> None:
        said.append(line)
        if "epoch 1/2, " in line and "validation" in line:
            raise KeyboardInterrupt

    wanted = settings(epochs=2)
    whole = training.train(wanted, shards, tmp_path / "whole", lambda line: None)
    with pytest.raises(KeyboardInterrupt):
        training.train(wanted, shards, tmp_path / "killed", kill)
    again = list[str]()
    resumed = training.train(wanted, shards, tmp_path / "killed", again.append)
    assert sum("learned first" in line for line in said) == 1
    assert not any("learned first" in line for line in again)
    assert again[0].endswith(": trained before, up to epoch 1/2")
    for one, other in zip(whole[0].model.get_weights(), resumed[0].model.get_weights(), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("index", [0, 1])
def test_of_several_machines_the_chief_alone_learns_them(shards: Path, tmp_path: Path, index: int) -> None:
    workers = Workers(index, 2, add=tf.identity)  # the other one adds nothing
    hardware = Hardware(tf.distribute.get_strategy(), "float32", False, "", workers)
    said: list[str] = []
    training.train(settings(epochs=1, deterministic=False), shards, tmp_path, said.append, hardware)
    assert any("learned first" in line for line in said) is (index == 0)


def test_in_float16_their_losses_are_scaled(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or gradients too small for it would vanish."""
    wanted, used = settings(), list[str]()
    monkeypatch.setattr(keras.Model, "fit", lambda model, *_, **__: used.append(type(model.optimizer).__name__))
    for policy in ("mixed_float16", "float32"):
        model = training.build(wanted.networks[0], wanted, policy)
        heads_first.learn_heads(model, wanted.networks[0], wanted, Subset.of(shards, "train"), used.append)
    assert [name for name in used if "parameters" not in name] == ["LossScaleOptimizer", "AdamW"]


def test_a_network_that_pools_nothing_is_refused(shards: Path) -> None:
    with pytest.raises(SettingsError, match="system_d-age-gender: heads_first: the network pools no maps"):
        learned(settings(networks=RECIPE["networks"]), shards)


def test_features_that_would_not_fit_into_memory_are_refused(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refit, "LARGEST", 100)
    with pytest.raises(
        SettingsError, match=r"compact-age-gender-race: heads_first: 48 rows of 16 features take 0\.0 GiB"
    ):
        learned(settings(), shards)
