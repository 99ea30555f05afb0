import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from faceline.errors import SettingsError
from faceline.learning import networks
from faceline.learning.recipe import Recipe
from faceline.learning.training import build
from faceline.params import read_settings, section
from tests.toys import network, recipe

COUNTS = {"system-b-age": 31_716_033, "system-b-gender": 63_074_753, "system-d": 883_746}  # as their authors state
NAMES = ("backbone", "compact", "facenet", "faceres", "resnet34", "system_b", "system_c", "system_d", "system_e")


@pytest.mark.parametrize("name", section("recipes"))
def test_every_recipe_is_allowed_and_builds(name: str) -> None:
    settings = read_settings(Recipe, "recipes", name)
    for entry in settings.networks:
        model = build(entry, settings)
        assert model.count_params() == COUNTS.get(name, model.count_params())
        assert tuple(model.output_names) == entry.targets.names
        assert model.input_shape == (None, settings.input_size, settings.input_size, settings.channels)


def test_width_sets_the_size_of_the_compact_network() -> None:
    counts = {}
    for width in (6, 24):
        entry = {**network(), "arguments": {"width": width}}
        settings = recipe(networks=[entry], input_size=64)
        counts[width] = build(settings.networks[0], settings).count_params()
    assert 100_000 < counts[6] < 115_000
    assert 1_500_000 < counts[24] < 1_700_000


@pytest.mark.parametrize(
    ("arguments", "more", "side"),
    [
        ({"blocks": 3}, sum(2 * (9 * c * c + 4 * c) for c in (2, 4, 8, 16)), 2),  # two convolutions and normalizations
        ({"squeeze": 2}, 2 * sum(c * (c // 2) * 2 + c // 2 + c for c in (2, 4, 8, 16)), 2),  # two layers a block
        ({"drop_path": 0.5}, 0, 2),
        ({"stem_stride": 1}, 0, 4),
    ],
)
def test_options_of_the_compact_network_add_what_they_say(arguments: dict[str, Any], more: int, side: int) -> None:
    models = []
    for extra in ({}, arguments):
        settings = recipe(networks=[{**network(), "arguments": {"width": 2, **extra}}])
        models.append(build(settings.networks[0], settings))
    plain, varied = models
    assert varied.count_params() - plain.count_params() == more
    pooling = [layer for layer in varied.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D)]
    assert pooling[-1].input.shape == (None, side, side, 16)


def test_depth_is_stochastic_in_training_alone() -> None:
    settings = recipe(networks=[{**network(), "arguments": {"width": 2, "drop_path": 0.9, "dropout": 0.0}}])
    keras.utils.set_random_seed(1)
    model = build(settings.networks[0], settings)
    pictures = np.ones((8, 28, 28, 3), np.float32)
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout) and layer.noise_shape]
    assert rates == pytest.approx([0.9 * block / 7 for block in range(1, 8)])
    assert len(np.unique(model(pictures, training=True)["gender"])) > 1
    assert len(np.unique(model(pictures, training=False)["gender"])) == 1


def test_a_digest_follows_the_shared_parts_that_an_architecture_names() -> None:
    folder = Path(networks.__path__[0])
    parts = {file.stem for file in networks._sources(folder / "backbone.py")}
    assert parts == {"backbone", "_branches", "_imagenet"}
    assert networks._sources(folder / "compact.py") == {folder / "compact.py"}
    digests = {networks.digest(name, networks.load(name).Arguments.model_construct()) for name in NAMES}
    assert len(digests) == len(NAMES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "resnet"}, f"allowed: {', '.join(NAMES)}"),
        ({"arguments": {"width": -1}}, "compact.arguments.width = -1"),
        ({"arguments": {"depth": 2}}, "compact.arguments.depth is not a setting"),
        ({"targets": {}}, "at least one of age, gender, race"),
        (
            {"targets": {"age": {"loss": "hinge"}}},
            "'dldl', 'crossentropy', 'mean_variance', 'ordinal', 'mae', 'mse' or 'huber'",
        ),
        ({"network": "system_b", "arguments": {}}, "the targets of system_b can be age, gender"),
    ],
)
def test_a_wrong_network_is_named_with_what_is_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        recipe(networks=[{**network(), **changes}])
    assert message in caught.value.message


def test_networks_of_one_target_differ_but_for_the_kind_of_its_answers() -> None:
    with pytest.raises(SettingsError, match="two networks are the same; `members` trains them more than once"):
        recipe(networks=[network(), network()])
    wider = {**network("age"), "arguments": {"width": 4}}
    found = recipe(networks=[network("age", "gender"), wider, network("age")], members=2).all_members
    assert [(member.name, member.number) for member in found] == [
        ("compact-age-gender", 1),
        ("compact-age", 1),
        ("compact-age-2", 1),
        ("compact-age-gender-2", 2),
        ("compact-age-3", 2),
        ("compact-age-4", 2),
    ]
    others = [
        {**wider, "targets": {"age": {"loss": "mae"}}},
        {**wider, "refit": {"age": {"learner": "forest"}}},
    ]
    for other in others:
        with pytest.raises(SettingsError, match="the kind of their answers must be one, not distribution and number"):
            recipe(networks=[network(), other])
    assert recipe(networks=[network(), {**wider, "targets": {"age": {"loss": "crossentropy", "weight": 2}}}])


def test_shared_parts_are_no_networks() -> None:
    assert networks.names() == NAMES


def test_settings_are_checked_without_tensorflow() -> None:
    code = (
        "import sys; from faceline.learning.recipe import Recipe; from faceline.params import read_settings;"
        "read_settings(Recipe, 'recipes', 'compact'); sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
