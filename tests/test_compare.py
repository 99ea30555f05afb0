"""Variants: ranked, drawn, and those that cannot be told apart refused."""

import base64
import io
import shutil
from pathlib import Path

import pytest
from PIL import Image

from faceline.errors import SettingsError
from faceline.learning.recipe import Recipe, recipe_digest
from faceline.params import chosen, read_settings
from pipelines import compare, experiments
from pipelines.compare import CompareSettings, Result, Variant, page, ranked, unique
from pipelines.project import Project
from tests.imports import ROOT

SETTINGS = CompareSettings(
    variants=(Variant(name="a"),), metric="age.mae", direction="minimize", show=("gender.accuracy",)
)
RESULTS = [
    Result("middle", "compare-middle", {"age.mae": 5.0, "gender.accuracy": 0.9}),
    Result("broken", "", {}, "train: out of memory"),
    Result("best", "compare-best", {"age.mae": 4.0}, "gate@evaluate: below the floor"),
]


def test_the_best_stands_first_and_what_failed_last() -> None:
    rows = ranked(RESULTS, SETTINGS)
    assert [(row["rank"], row["variant"]) for row in rows] == [(1, "best"), (2, "middle"), (3, "broken")]
    assert rows[0] == {
        "rank": 1, "variant": "best", "age.mae": 4.0, "gender.accuracy": None, "experiment": "compare-best",
        "fault": "gate@evaluate: below the floor",
    }  # fmt: skip
    other = SETTINGS.model_copy(update={"direction": "maximize"})
    assert [row["variant"] for row in ranked(RESULTS, other)] == ["middle", "best", "broken"]


def test_a_metric_that_no_variant_has_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for artifact in ("create_table_artifact", "create_markdown_artifact"):  # they need a server
        monkeypatch.setattr(compare, artifact, lambda **content: None)
    state = compare.conclude([RESULTS[0], RESULTS[1]], SETTINGS.model_copy(update={"metric": "age.mea"}))
    assert state.is_failed()
    assert state.message == "middle: it has no metric age.mea; broken: train: out of memory"


def test_the_plot_is_a_picture_inside_the_page() -> None:
    drawn = page(ranked(RESULTS, SETTINGS), SETTINGS)
    start, _, data = drawn.partition("base64,")
    assert start == "![age.mae](data:image/png;" and data.endswith(")")
    with Image.open(io.BytesIO(base64.b64decode(data[:-1]))) as picture:
        assert picture.format == "PNG" and picture.width == 800


def test_two_variants_of_one_name_are_refused() -> None:
    with pytest.raises(SettingsError, match="more than one variant is called 'a'"):
        unique([Variant(name="a"), Variant(name="b"), Variant(name="a", recipe="other")])


def test_the_shipped_variants_are_allowed_and_differ(tmp_path: Path) -> None:
    found = []
    for variant in unique(read_settings(CompareSettings, "compare", path=ROOT / "params.yaml").variants):
        shutil.copy(ROOT / "params.yaml", tmp_path)
        experiments.override(Project(tmp_path), experiments.overrides(variant.dataset, variant.recipe, variant.set))
        dataset, name = chosen(tmp_path / "params.yaml")
        recipe = read_settings(Recipe, "recipes", name, path=tmp_path / "params.yaml")
        found.append((dataset, recipe_digest(recipe)))
    assert len(set(found)) == len(found)
