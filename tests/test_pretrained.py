"""The bundle that comes with the project: small, made by the recipe in params.yaml, and at work in a fresh clone."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from faceline.cli import main
from faceline.datasets.labels import Gender, Race
from faceline.datasets.sample.picture import Shot, Sitter, take
from faceline.files import read_json
from faceline.learning.card import read_card
from faceline.learning.recipe import Recipe
from faceline.learning.teacher import read_answers
from faceline.params import read_settings
from tests.imports import ROOT

BUNDLE = ROOT / "models/pretrained/utkface"
MEGABYTE = 1_000_000


def test_the_bundle_is_small() -> None:
    assert sum(file.stat().st_size for file in BUNDLE.iterdir()) <= 15 * MEGABYTE


@pytest.mark.parametrize("name", ["utkface", "utkface-mean"])
def test_teachers_are_small(name: str) -> None:
    teacher = ROOT / f"models/teachers/{name}.parquet"
    assert teacher.stat().st_size <= 5 * MEGABYTE
    assert set(read_answers(teacher).answers) == {"age", "gender", "race"}


def test_the_recipe_it_was_made_by_is_still_in_params(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    card = read_card(BUNDLE)
    assert card.dataset == "utkface"
    assert card.recipe.settings == read_settings(Recipe, "recipes", card.recipe.name)
    assert "non-commercial" in card.licence


def test_its_figures_are_those_that_models_have() -> None:
    figures, newest = read_json(BUNDLE / "metrics.json"), read_json(ROOT / "models/metrics.json")
    assert figures.keys() == newest.keys()
    assert figures["rows"] == read_card(BUNDLE).shards.rows["test"]


def test_faces_are_judged_without_any_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, ["predict", "docs/pictures/sample.jpg", "--json"])
    assert result.exit_code == 0
    faces = json.loads(result.stdout)[0]["faces"]
    assert len(faces) >= 40
    for face in faces:
        assert 0 <= face["age"]["low"] <= face["age"]["years"] <= face["age"]["high"] <= 116
        assert sum(face["race"]["probabilities"].values()) == pytest.approx(1, abs=0.01)


def test_profiles_are_audited_with_its_calibration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The pictures are rendered people; a child that states 70 years is no hard case."""
    monkeypatch.chdir(ROOT)
    for number, age in enumerate((6, 40)):
        take(Shot((number,), 256, (Sitter((number,), age, Gender.FEMALE, Race.WHITE),))).save(tmp_path / f"{age}.png")
    (tmp_path / "group.jpg").write_bytes((ROOT / "docs/pictures/sample.jpg").read_bytes())
    (tmp_path / "profiles.csv").write_text("picture,age\n6.png,70\n40.png,40\ngroup.jpg,30\n")
    arguments = ["audit", str(tmp_path / "profiles.csv"), "--output", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)["counts"]
    assert {name: count for name, count in counts.items() if count} == {
        "contradicts_age": 1,
        "consistent": 1,
        "several_faces": 1,
    }
    assert read_json(tmp_path / "out/summary.json")["warnings"] == []
