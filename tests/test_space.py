"""The space that is tuned: values into recipes, recipes into params.yaml, and what is refused before any work."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from ruamel.yaml.representer import RepresenterError

from faceline.errors import SettingsError
from faceline.learning.recipe import Recipe
from faceline.params import parse_settings, read_settings, section
from pipelines.space import Choice, Range, TuneSettings, changed, require_space, write_recipe
from tests.imports import ROOT

PARAMS = ROOT / "params.yaml"
RECIPE: dict[str, Any] = {"networks": [{"arguments": {"width": 6}}], "batch_size": 32}


def test_values_go_to_their_places_and_the_recipe_stays_as_it_was() -> None:
    new = changed(RECIPE, {"networks.0.arguments.width": 8, "batch_size": 16, "networks.0.arguments.dropout": 0.1})
    assert new == {"networks": [{"arguments": {"width": 8, "dropout": 0.1}}], "batch_size": 16}
    assert RECIPE["networks"][0]["arguments"] == {"width": 6}


@pytest.mark.parametrize("place", ["networks.1.arguments.width", "network.0", "batch_size.0", "networks.first.x"])
def test_a_place_that_is_none_is_refused(place: str) -> None:
    settings = TuneSettings(
        study="s", recipe="compact", trials=1, metric="m", direction="minimize", seed=1, startup_trials=0,
        warmup_epochs=0, space={place: Range(low=0, high=1)},
    )  # fmt: skip
    with pytest.raises(SettingsError, match=rf"tune.space has {place}, which is no place in recipes.compact"):
        require_space(settings, RECIPE)


@pytest.mark.parametrize("values", [{"low": 2, "high": 1}, {"low": 0, "high": 1, "log": True}, {"low": 1}])
def test_a_range_that_makes_no_sense_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="tune"):
        parse_settings(Range, values, "tune.space.x")


def test_suggestions_lie_in_their_ranges() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        trial = study.ask()
        assert Range(low=4, high=10, step=2, whole=True).suggest(trial, "whole") in (4, 6, 8, 10)
        assert 0.001 <= Range(low=0.001, high=0.1, log=True).suggest(trial, "log") <= 0.1
        assert Choice(choices=(16, {"loss": "mae"})).suggest(trial, "choice") in (16, {"loss": "mae"})


def test_the_shipped_space_gives_recipes_that_are_allowed() -> None:
    settings = read_settings(TuneSettings, "tune", path=PARAMS)
    base = section("recipes", settings.recipe, path=PARAMS)
    require_space(settings, base)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        trial = study.ask()
        values = {name: space.suggest(trial, name) for name, space in settings.space.items()}
        parse_settings(Recipe, changed(base, values), "recipes.tuned")


def test_a_recipe_is_added_and_the_file_stays_as_it_is_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.read_text(encoding="utf-8"), encoding="utf-8")
    write_recipe(path, "tuned", {"networks": [{"network": "compact"}], "grey": False}, choose=True)
    old, new = (file.read_text(encoding="utf-8").splitlines() for file in (PARAMS, path))
    assert [line for line in old if line not in new] == ["recipe: compact # an entry of `recipes`, at the end"]
    assert section("recipes", "tuned", path=path) == {"networks": [{"network": "compact"}], "grey": False}
    assert section("recipe", path=path) == "tuned"


def test_a_recipe_that_cannot_be_written_leaves_params_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("recipe: plain\nrecipes:\n  plain: {rate: 1}\n")
    with pytest.raises(RepresenterError):
        write_recipe(path, "tuned", {"rate": object()}, choose=True)
    assert path.read_text() == "recipe: plain\nrecipes:\n  plain: {rate: 1}\n"
    assert list(tmp_path.iterdir()) == [path]
