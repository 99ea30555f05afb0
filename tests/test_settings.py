"""The first stage: every setting is checked before any work."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from faceline.files import read_json
from faceline.learning.teacher import Teacher, write_answers
from stages.settings import main
from tests.imports import ROOT


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "params.yaml"


def change(path: Path, key: str, value: Any) -> None:
    yaml = YAML()
    params = yaml.load(path)
    *above, last = key.split(".")
    place = params
    for part in above:
        place = place[part]
    place[last] = value
    yaml.dump(params, path)


def put(params: Path, dataset: str, name: str | None) -> None:
    """An empty file in the dataset's folder: what is in it is for ingest to judge."""
    if name:
        folder = params.parent / "data" / "raw" / dataset
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def run() -> Any:
    return CliRunner().invoke(main, ["--raw", "data/raw", "--teachers", "models/teachers", "--output", "settings"])


DATASETS = list(YAML(typ="safe").load(ROOT / "params.yaml")["datasets"])
RECIPES = list(YAML(typ="safe").load(ROOT / "params.yaml")["recipes"])


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_dataset_is_allowed(params: Path, dataset: str) -> None:
    change(params, "dataset", dataset)
    for source in YAML(typ="safe").load(params)["datasets"][dataset]["ingest"]["sources"]:
        for name in (source["file"], source.get("pictures")):
            put(params, dataset, name)
    result = run()
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("dataset", "there", "message"),
    [
        ("utkface", None, "data/raw/utkface/UTKFace.tar.gz is missing; put it there or make it a symbolic link"),
        ("imdb_wiki", "imdb_crop.tar", "data/raw/imdb_wiki/wiki_crop.tar is missing"),
        ("manifest", "manifest.csv", "data/raw/manifest/pictures.zip is missing"),
    ],
)
def test_a_missing_archive_stops_before_any_work(params: Path, dataset: str, there: str | None, message: str) -> None:
    change(params, "dataset", dataset)
    put(params, dataset, there)
    result = run()
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (params.parent / "settings").exists()


def test_the_files_that_are_joined_are_asked_for_too(params: Path) -> None:
    change(params, "dataset", "utkface")
    change(params, "datasets.utkface.ingest.overrides", "wrong.csv")
    put(params, "utkface", "UTKFace.tar.gz")
    assert "data/raw/utkface/wrong.csv is missing" in run().output


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_allowed_and_its_networks_are_known(params: Path, recipe: str) -> None:
    shutil.copytree(ROOT / "models/teachers", "models/teachers")
    Path("data/weights").mkdir(parents=True)
    for name in ("faceres.bin", "faceres-deep.bin", "facenet_keras.h5"):
        Path("data/weights", name).write_bytes(b"asked for, not read")
    change(params, "recipe", recipe)
    result = run()
    assert result.exit_code == 0, result.output
    digests = read_json(params.parent / "settings" / "network.json")
    assert all(len(digest) == 64 for digest in digests.values())
    assert digests


def test_a_file_of_weights_is_asked_for_before_any_work_and_counts_by_its_content(params: Path) -> None:
    change(params, "recipe", "system-a")
    entry = {"network": "resnet34", "arguments": {"weights": "weights.pt"}, "targets": {"age": {"loss": "mse"}}}
    change(params, "recipes.system-a.networks", [entry])
    result = run()
    assert result.exit_code == 2
    assert "weights.pt is missing; resnet34 starts from the weights in it" in result.output
    digests = []
    for content in (b"one", b"other"):
        Path("weights.pt").write_bytes(content)
        assert run().exit_code == 0
        digests.append(read_json(params.parent / "settings" / "network.json"))
    assert list(digests[0]) == ["resnet34-age"]
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dataset", "utk", "'utk' is not in 'datasets'; allowed: imdb_wiki, manifest"),
        ("recipe", "big", "'big' is not in 'recipes'; allowed: compact"),
        ("samples", {}, "samples is not a setting; allowed: dataset, recipe, cluster, hardware, sample"),
        ("datasets.sample.claen", {}, "datasets.sample.claen is not a setting; allowed: ingest, clean"),
        ("datasets.sample.gates.crops", {}, "datasets.sample.gates.crops is not a setting; allowed: ingest, clean"),
        ("datasets.sample.clean.ages", 3, "datasets.sample.clean.ages is not a setting"),
        ("datasets.sample.clean.age", {"minimum": 99, "maximum": 9}, "minimum 99 is above maximum 9"),
        ("datasets.sample.split.fractions.train", 0.9, "add up to 1.2; they must add up to 1"),
        ("datasets.sample.gates.crop.max_rejected", 1.5, "gates.crop.max_rejected = 1.5"),
        ("datasets.sample.ingest.sources", [], "datasets.sample.ingest.sources"),
        (
            "recipes.compact.networks",
            [{"network": "vgg99", "targets": {}}],
            "no such network; allowed: backbone, compact",
        ),
        (
            "recipes.compact.networks",
            [{"network": "facenet", "targets": {"age": {"loss": "mse"}}}],
            "recipes.compact: scaling = 'symmetric' for facenet; allowed: whitened",
        ),
        (
            "recipes.compact.networks",
            [{"network": "resnet34", "targets": {"age": {"loss": "mse"}}, "own": {"scaling": "whitened"}}],
            "recipes.compact: scaling = 'whitened' for resnet34; allowed: symmetric",
        ),
        ("hardware.strategy", "cluster", "hardware.strategy = 'cluster'"),
        ("hardware.xla", "maybe", "hardware.xla"),
        ("datasets.sample.gates.evaluate.floors", {"race_accuracy": 4}, "gates.evaluate.floors.race_accuracy = 4"),
        ("recipes.compact.seed", -1, "recipes.compact.seed = -1"),
        (
            "datasets.sample.gates.evaluate.recipes",
            {"nosuch": {}},
            "datasets.sample.gates.evaluate.recipes.nosuch is not a setting; allowed: compact",
        ),
        ("recipes.compact.start", "models/other", "models/other/card.json is missing"),
        ("sample.faces", -1, "sample.faces = -1"),
        ("shard.formats", ["csv"], "shard.formats.0 = 'csv'"),
    ],
)
def test_a_bad_setting_is_one_clear_line_and_nothing_is_written(
    params: Path, key: str, value: Any, message: str
) -> None:
    change(params, key, value)
    result = run()
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (params.parent / "settings").exists()


DISTILL: dict[str, Any] = {"teacher": "models/teachers/big.parquet", "weight": 0.5}


def test_a_changed_teacher_is_another_dependency_of_training(params: Path) -> None:
    change(params, "recipes.compact.distill", DISTILL)
    digests = []
    for age in (30.0, 31.0):
        write_answers(Path(DISTILL["teacher"]), Teacher(["a"], {"age": np.array([[age]])}))
        assert run().exit_code == 0
        digests.append(read_json(Path("settings/network.json"))["teacher"])
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("models/teachers/small.parquet", "not a table or a bundle in models/teachers (models/teachers/big.parquet)"),
        ("params.yaml", "recipes.compact.distill.teacher = 'params.yaml': not a table or a bundle in models/teachers"),
        ("models/teachers/big.parquet", "models/teachers/big.parquet cannot be read as a table"),
    ],
)
def test_a_teacher_that_cannot_be_used_stops_before_any_work(params: Path, teacher: str, message: str) -> None:
    Path("models/teachers").mkdir(parents=True)
    Path("models/teachers/big.parquet").write_text("nothing")
    change(params, "recipes.compact.distill", {**DISTILL, "teacher": teacher})
    result = run()
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not Path("settings").exists()
