"""A training that goes on from a bundle starts from its weights, and from no other network's."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceline.errors import BundleError, SettingsError
from faceline.learning.card import file_digests
from faceline.learning.recipe import Recipe
from faceline.learning.starting import start
from faceline.learning.training import build, checkpoints
from tests.toy_bundle import write_toy_bundle
from tests.toys import network, recipe

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained bundle of one compact network for age and gender."""
    return write_toy_bundle(tmp_path_factory.mktemp("start") / "bundle", "age", "gender")


def going_on(bundle: Path, *targets: str, **changes: Any) -> Recipe:
    return recipe(**{"networks": [network(*targets)], "start": str(bundle), **changes})


def started(settings: Recipe, bundle: Path) -> tuple[str, dict[str, np.ndarray]]:
    """What is said, and the weights by target of a head or, of all other layers in order, as `trunk`."""
    (member,) = settings.all_members
    model = build(member.settings, settings)
    said = start(model, member, bundle, settings)
    names = member.settings.targets.names
    trunk = [w.ravel() for layer in model.layers if layer.name not in names for w in layer.get_weights()]
    return said, {"trunk": np.concatenate(trunk)} | {name: model.get_layer(name).get_weights()[0] for name in names}


def test_all_weights_of_the_bundle_are_taken(bundle: Path) -> None:
    settings = going_on(bundle, "age", "gender")
    said, weights = started(settings, bundle)
    assert said == f"starts from {bundle}/compact-age-gender.keras"
    again = started(settings, bundle)[1]  # a new network is drawn each time, so these are the bundle's
    assert all(np.array_equal(weights[name], again[name]) for name in weights)


def test_a_head_that_the_bundle_lacks_starts_anew(bundle: Path) -> None:
    said, weights = started(going_on(bundle, "gender", "race"), bundle)
    assert said.endswith("compact-age-gender.keras, race anew")
    whole = started(going_on(bundle, "age", "gender"), bundle)[1]
    assert np.array_equal(weights["trunk"], whole["trunk"])
    assert np.array_equal(weights["gender"], whole["gender"])


def test_a_head_of_another_shape_starts_anew(bundle: Path) -> None:
    entry = network("age")
    entry["targets"]["age"] = {"loss": "mae"}
    assert started(going_on(bundle, networks=[entry]), bundle)[0].endswith(", age anew")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": [{**network("age"), "arguments": {"width": 3}}]}, "the weights of layer 1 of"),
        (
            {"networks": [{"network": "system_d", "targets": {"age": {"loss": "mae"}}}]},
            "has no network system_d; it has",
        ),
        ({"grey": True}, r"have shapes \[\(3, 3, 3, 2\)\], the recipe's \[\(3, 3, 1, 2\)\]"),
        ({"scaling": "whitened"}, "its pixels are symmetric, the recipe's whitened"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(bundle: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        started(going_on(bundle, "age", **changes), bundle)


def test_the_bundle_is_part_of_what_a_training_depends_on(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (tmp_path / "manifest.json").touch()
    settings = going_on(copy, "age")
    first = file_digests(settings), checkpoints(tmp_path, tmp_path, settings)
    assert list(first[0]) == [str(copy)]
    assert (file_digests(settings), checkpoints(tmp_path, tmp_path, settings)) == first
    (copy / "card.json").write_bytes((copy / "card.json").read_bytes() + b"\n")
    assert file_digests(settings) != first[0]
    assert checkpoints(tmp_path, tmp_path, settings) != first[1]
    assert file_digests(recipe()) == {}


def test_without_a_bundle_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere/card\.json is missing"):
        file_digests(going_on(tmp_path / "nowhere"))
