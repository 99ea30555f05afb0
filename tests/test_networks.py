import subprocess
import sys
from typing import Any

import pytest

from faceline.errors import SettingsError
from faceline.learning import networks
from faceline.learning.recipe import Recipe
from faceline.learning.training import build
from faceline.params import read_settings, section
from tests.toys import network, recipe

COUNTS = {"system-b-age": 31_716_033, "system-b-gender": 63_074_753, "system-d": 883_746}


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
    ("changes", "message"),
    [
        ({"network": "resnet"}, "allowed: compact, facenet, system_b_age, system_b_gender, system_d"),
        ({"arguments": {"width": -1}}, "compact.arguments.width = -1"),
        ({"arguments": {"depth": 2}}, "compact.arguments.depth is not a setting"),
        ({"targets": {}}, "at least one of age, gender, race"),
        (
            {"targets": {"age": {"loss": "hinge"}}},
            "'dldl', 'crossentropy', 'mean_variance', 'ordinal', 'mae', 'mse' or 'huber'",
        ),
        ({"network": "system_b_age", "arguments": {}}, "the targets of system_b_age can be age"),
    ],
)
def test_a_wrong_network_is_named_with_what_is_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        recipe(networks=[{**network(), **changes}])
    assert message in caught.value.message


def test_a_target_has_one_network() -> None:
    with pytest.raises(SettingsError, match="each target has one network; age, gender, race has several"):
        recipe(networks=[network(), network()])


def test_shared_parts_are_no_networks() -> None:
    assert networks.names() == ("compact", "facenet", "system_b_age", "system_b_gender", "system_d")


def test_settings_are_checked_without_tensorflow() -> None:
    code = (
        "import sys; from faceline.learning.recipe import Recipe; from faceline.params import read_settings;"
        "read_settings(Recipe, 'recipes', 'compact'); sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
