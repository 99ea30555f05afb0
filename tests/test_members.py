"""Ensembles: members are trained alike from other seeds, are named apart, and answer together."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from faceline.datasets.records import ShardSettings
from faceline.errors import SettingsError
from faceline.learning import training
from faceline.learning.answering import CropPredictor, load_network
from faceline.learning.card import read_card
from faceline.learning.recipe import Recipe
from faceline.learning.starting import start
from tests.toy_bundle import pack_toy_bundle
from tests.toys import SIDE, network, recipe, write_shards

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
APART = [network("age"), network("gender")]
WIDER = {**network("age"), "arguments": {"width": 3}}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = ShardSettings(formats=("tfrecord",), rows=20, seed=1)
    return write_shards(tmp_path_factory.mktemp("toys") / "shards", settings)


def train(settings: Recipe, shards: Path, store: Path, say: Any = lambda line: None) -> list[training.Trained]:
    return training.train(settings, shards, store, say)


def same_weights(first: training.Trained, second: training.Trained) -> bool:
    pairs = zip(first.model.get_weights(), second.model.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_a_member_is_the_network_that_its_seed_gives_alone(shards: Path, tmp_path: Path) -> None:
    first, second = train(recipe(members=2, epochs=2), shards, tmp_path / "both")
    assert [first.name, second.name] == ["system_d-age-gender", "system_d-age-gender-2"]
    assert {path.name for path in (tmp_path / "both").glob("*.npz")} == {f"{each.name}.npz" for each in (first, second)}
    history = pd.DataFrame(first.history + second.history)
    assert not history.duplicated(["network", "epoch"]).any()
    for member, seed in ((first, 1), (second, 2)):
        (alone,) = train(recipe(seed=seed, epochs=2), shards, tmp_path / str(seed))
        assert same_weights(member, alone)
    assert not same_weights(first, second)


def test_members_that_were_trained_before_a_kill_are_not_trained_again(shards: Path, tmp_path: Path) -> None:
    settings = recipe(members=2, epochs=1)
    before = train(settings, shards, tmp_path)
    said: list[str] = []
    again = train(settings, shards, tmp_path, said.append)
    assert said == [f"{each.name}: trained before, up to epoch 1/1" for each in before]
    assert all(map(same_weights, before, again))
    assert [each.history for each in before] == [each.history for each in again]


def test_networks_of_one_target_are_trained_and_told_apart(shards: Path, tmp_path: Path) -> None:
    settings = recipe(networks=[network("age"), WIDER], heads_first={"epochs": 1, "learning_rate": 0.01}, epochs=1)
    said: list[str] = []
    found = train(settings, shards, tmp_path / "store", said.append)
    assert [each.name for each in found] == ["compact-age", "compact-age-2"]
    assert [each.history[0]["network"] for each in found] == ["compact-age", "compact-age-2"]
    assert found[0].model.count_params() < found[1].model.count_params()
    lines = [line.split(": ")[0] for line in said if "learned first" in line or "validation" in line]
    assert lines == ["compact-age", "compact-age", "compact-age-2", "compact-age-2"]


@pytest.mark.parametrize(
    ("networks", "members", "names"),
    [
        (APART, 3, ["age", "gender", "age-2", "gender-2", "age-3", "gender-3"]),
        ([*APART, WIDER], 1, ["age", "gender", "age-2"]),
    ],
)
def test_the_answer_is_the_mean_of_a_targets_networks(
    tmp_path: Path, networks: list[dict[str, Any]], members: int, names: list[str]
) -> None:
    bundle = pack_toy_bundle(tmp_path / "bundle", recipe(networks=networks, members=members), {})
    card = read_card(bundle)
    assert [file.file for file in card.networks] == [f"compact-{name}.keras" for name in names]
    crops = np.random.default_rng(1).integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.uint8)
    whole = CropPredictor(bundle)
    found = whole.outputs(crops)
    parts: dict[str, list[np.ndarray]] = {"age": [], "gender": []}
    for file in card.networks:
        alone = CropPredictor(bundle)
        alone._networks = [(load_network(bundle, file), file.input)]
        parts[file.targets[0]].append(alone._run(crops)[file.targets[0]].numpy())
    for target, outputs in parts.items():
        assert all(not np.allclose(outputs[0], other, atol=1e-4) for other in outputs[1:])
        assert np.allclose(found[target], np.mean(outputs, axis=0), atol=1e-5)


def test_training_goes_on_from_a_member_of_an_ensemble(tmp_path: Path) -> None:
    bundle = pack_toy_bundle(tmp_path / "bundle", recipe(networks=APART, members=2), {})
    settings = recipe(networks=[network("gender")], start=str(bundle))
    (member,) = settings.all_members
    model = training.build(member.settings, settings)
    assert start(model, member, bundle, settings) == f"starts from {bundle}/compact-gender.keras"


def test_each_network_of_an_ensemble_goes_on_from_its_own(tmp_path: Path) -> None:
    networks = [network("age", "gender"), network("gender")]
    bundle = pack_toy_bundle(tmp_path / "bundle", recipe(networks=networks, members=2), {})
    settings = recipe(networks=networks, members=3, start=str(bundle))
    said = [
        start(training.build(member.settings, settings), member, bundle, settings) for member in settings.all_members
    ]
    names = ["age-gender", "gender", "age-gender-2", "gender-2", "age-gender", "gender"]
    assert said == [f"starts from {bundle}/compact-{name}.keras" for name in names]


def test_an_ensemble_has_a_member_at_least_and_a_seed_for_each() -> None:
    with pytest.raises(SettingsError, match="seed 4294967295 is too high for 2 members"):
        recipe(seed=2**32 - 1, members=2)
    with pytest.raises(SettingsError, match=r"members = 0.*greater than or equal to 1"):
        recipe(members=0)
