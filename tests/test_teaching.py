"""A bundle as the teacher: its answers to the training pictures, as a table and straight from a recipe."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from faceline.cli import main
from faceline.datasets.records import ShardSettings, read_rows
from faceline.errors import SourceError
from faceline.files import read_json, write_json
from faceline.learning.answering import CropPredictor
from faceline.learning.teacher import Teacher, read_answers, write_answers
from faceline.learning.teaching import STORED, teach, teacher_of
from tests.toy_bundle import pack_toy_bundle, write_toy_bundle
from tests.toys import network, pixels, recipe, write_shards

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
BOTH = ShardSettings(formats=("tfrecord", "parquet"), rows=20, seed=1)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return write_shards(tmp_path / "shards", BOTH)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_toy_bundle(tmp_path / "bundle")


def test_the_command_writes_what_the_bundle_answers(shards: Path, bundle: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    result = CliRunner().invoke(main, ["teach", str(bundle), str(table), "--shards", str(shards)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{table}: age, gender, race of 48 pictures\n"
    taught, rows = read_answers(table), list(read_rows(shards, "train"))
    assert taught.image_ids == [row["image_id"] for row in rows]
    answers = CropPredictor(bundle).predict_crops(np.stack([pixels(row) for row in rows]))
    assert taught.answers["age"].shape == (48, 117)
    assert np.allclose(taught.answers["age"].astype(float) @ np.arange(117), answers.age, atol=0.3)
    assert np.allclose(taught.answers["gender"][:, 0], answers.female_probability, atol=1e-3)
    assert np.allclose(taught.answers["race"], answers.race_probabilities, atol=1e-3)


def test_a_bundle_that_says_nothing_of_ages_teaches_what_it_knows(shards: Path, tmp_path: Path) -> None:
    taught = teach([write_toy_bundle(tmp_path / "bundle", "gender")], shards)
    assert list(taught.answers) == ["gender"]


def test_an_age_beyond_all_labels_is_taught_as_the_oldest(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = network("age") | {"targets": {"age": {"loss": "mae"}}}
    bundle = pack_toy_bundle(tmp_path / "bundle", recipe(networks=[entry]), {})
    monkeypatch.setattr(CropPredictor, "outputs", lambda self, crops: {"age": np.full((len(crops), 1), 117.3)})
    table = tmp_path / "t.parquet"
    write_answers(table, teach([bundle], shards))
    assert set(read_answers(table).answers["age"].ravel()) == {116}


def test_a_folder_is_no_table_to_write(shards: Path, bundle: Path) -> None:
    result = CliRunner().invoke(main, ["teach", str(bundle), str(bundle.parent), "--shards", str(shards)])
    assert result.exit_code == 2
    assert "is a directory" in result.stderr


def test_several_bundles_teach_their_mean_answer(shards: Path, bundle: Path, tmp_path: Path) -> None:
    wide = {**network(), "arguments": {"width": 12}}
    other = pack_toy_bundle(tmp_path / "other", recipe(networks=[wide]), {})
    table = tmp_path / "t.parquet"
    result = CliRunner().invoke(main, ["teach", str(bundle), str(other), str(table), "--shards", str(shards)])
    assert result.exit_code == 0, result.output
    taught, alone = read_answers(table), [teach([folder], shards) for folder in (bundle, other)]
    assert taught.image_ids == alone[0].image_ids
    for target, answers in taught.answers.items():
        first, second = (teacher.answers[target] for teacher in alone)
        assert not np.allclose(first, second, atol=1e-3)
        assert np.allclose(answers, (first + second) / 2, atol=1e-3)


@pytest.mark.parametrize(
    ("networks", "told"),
    [
        ([network("age", "gender")], "answers age, gender"),
        (
            [{**network(), "targets": {**network()["targets"], "age": {"loss": "mae"}}}],
            "answers age in years, gender, race",
        ),
    ],
)
def test_answers_without_a_mean_are_refused(
    networks: list[Any], told: str, shards: Path, bundle: Path, tmp_path: Path
) -> None:
    other = pack_toy_bundle(tmp_path / "other", recipe(networks=networks), {})
    result = CliRunner().invoke(main, ["teach", str(other), str(bundle), "t", "--shards", str(shards)])
    assert result.exit_code != 0
    assert f"{other} {told}, {bundle} age, gender, race: no mean of these can be taken" in " ".join(
        result.output.split()
    )


def test_a_recipe_may_name_the_bundle_itself_which_is_asked_once(shards: Path, bundle: Path, tmp_path: Path) -> None:
    settings = recipe(networks=[network()], distill={"teacher": bundle, "weight": 0.5})
    said: list[str] = []
    first = teacher_of(settings, shards, tmp_path / "store", said.append)
    again = teacher_of(settings, shards, tmp_path / "store", said.append)
    assert isinstance(first, Teacher)
    assert isinstance(again, Teacher)
    assert np.array_equal(first.answers["age"], again.answers["age"])
    assert said == [
        f"teacher: asking {bundle} about every picture of train",
        *[f"teacher: {bundle} answers age, gender, race for 48 of 48 pictures"] * 2,
    ]
    assert (tmp_path / "store" / STORED).exists()


def test_a_recipe_without_a_teacher_has_none(shards: Path, tmp_path: Path) -> None:
    shutil.rmtree(shards)  # nothing is read
    assert teacher_of(recipe(), shards, tmp_path, pytest.fail) is None


def test_crops_of_another_size_are_refused(shards: Path, bundle: Path, tmp_path: Path) -> None:
    manifest = read_json(shards / "manifest.json")
    write_json(shards / "manifest.json", {**manifest, "crop_size": 60})
    settings = recipe(distill={"teacher": bundle, "weight": 0.5})
    with pytest.raises(SourceError, match=r"have 60 pixels a side, those of .*bundle 24"):
        teacher_of(settings, shards, tmp_path / "store", lambda line: None)
