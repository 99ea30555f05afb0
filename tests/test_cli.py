import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from faceline.cli import main
from faceline.datasets.labels import GENDERS, RACES
from faceline.datasets.tables import PREDICTIONS
from faceline.errors import PictureError
from faceline.faces.decoding import decode, encode_png
from faceline.faces.detection import Face
from faceline.files import write_table
from faceline.learning import bundle
from faceline.learning.bundle import FaceAnswer
from tests.answers import predictions, wrong_genders, wrong_races
from tests.imports import ROOT

CROP = np.zeros((4, 4, 3), np.uint8)
ANSWER = FaceAnswer(Face(3, 4, 20, 30, 0.987), CROP, 41.6, 30.2, 53.0, 0.9, (0.1, 0.2, 0.6, 0.05, 0.05))


class FakePredictor:
    """Knows the picture by its content: a face, nothing, or no picture."""

    def __init__(self, path: Path):
        self.card = SimpleNamespace(labels={"gender": GENDERS, "race": RACES})

    def predict(self, pictures: Sequence[bytes]) -> list[list[FaceAnswer]]:
        if b"html" in pictures[0]:
            raise PictureError("not_a_picture", "text")
        return [[ANSWER] if picture == b"face" else [] for picture in pictures]


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "Predictor", FakePredictor)
    monkeypatch.chdir(tmp_path)
    for name in ("face", "nothing", "html"):
        Path(name).write_text(name)


def predict(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["predict", *arguments])


def cells(printed: str) -> list[list[str]]:
    """Of each row of a printed table, without its header."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if "│" in line]


def test_the_table_names_every_picture() -> None:
    result = predict("face", "nothing")
    assert result.exit_code == 0
    assert cells(result.stdout) == [
        ["face", "20x30 at 3, 4", "0.99", "42 (30 to 53)", "female 90%", "asian 60%"],
        ["nothing", "no face", "", "", "", ""],
    ]


@pytest.mark.parametrize("name", ["IMG[edited]", "a[", ":smile:"])
def test_names_are_printed_as_they_are(name: str) -> None:
    Path(name).mkdir()
    for picture in (Path(name, "x].jpg"), Path(name, "x")):
        picture.write_text("face")
        done = predict(str(picture))
        assert done.exit_code == 0
        assert str(picture) in done.output


def test_a_name_of_any_bytes_can_be_printed() -> None:
    picture = os.fsdecode(b"\xe9.jpg")
    Path(picture).write_text("face")
    assert "\N{REPLACEMENT CHARACTER}.jpg" in predict(picture).output
    assert json.loads(predict(picture, "--json").output)[0]["picture"] == "\N{REPLACEMENT CHARACTER}.jpg"


def test_json_holds_the_numbers() -> None:
    first, second = json.loads(predict("face", "nothing", "--json").stdout)
    assert first["faces"][0]["box"] == {"x": 3, "y": 4, "width": 20, "height": 30}
    assert first["faces"][0]["age"] == {"years": 41.6, "low": 30.2, "high": 53.0}
    assert first["faces"][0]["gender"]["label"] == "female"
    assert first["faces"][0]["race"]["probabilities"]["asian"] == 0.6
    assert second == {"picture": "nothing", "faces": []}


def test_unreadable_pictures_are_named_after_the_others_are_done() -> None:
    result = predict("html", "absent", "face")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "html: not_a_picture: text",
        "absent: unreadable_file: No such file or directory",
    ]
    assert "female 90%" in result.stdout


def test_a_bomb_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # Pillow warns above it, and refuses above twice as much
    monkeypatch.setattr(FakePredictor, "predict", lambda self, pictures: [decode(pictures[0], max_pixels=50)])
    Path("bomb").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    assert predict("bomb").stderr.splitlines() == ["bomb: too_many_pixels: 8x8, more than 50 pixels"]


def test_a_target_that_the_bundle_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    only_gender = FaceAnswer(ANSWER.face, CROP, female_probability=0.25)
    monkeypatch.setattr(FakePredictor, "predict", lambda self, pictures: [[only_gender]])
    face = json.loads(predict("face", "--json").stdout)[0]["faces"][0]
    assert set(face) == {"box", "score", "gender"}
    assert face["gender"]["probability"] == 0.75
    assert "male 75%" in predict("face").stdout


def test_without_pictures_the_usage_is_shown() -> None:
    result = predict()
    assert result.exit_code == 2
    assert "PICTURES" in result.output


@pytest.fixture
def tables() -> None:
    """Tables of predictions: B is better in age and gender, and worse in race; the third is worse in nothing."""
    answers = {
        "a": predictions(age_predicted=[34, 26, 32, 32] * 10, female_probability=wrong_genders(10)),
        "b": predictions(
            age=[31, *[30] * 39],
            age_predicted=[31, 27, 32, 30] * 10,
            female_probability=wrong_genders(4),
            race_probabilities=wrong_races(20),
        ),
        "better": predictions(female_probability=wrong_genders(4), race_probabilities=[None] * 40).slice(0, 38),
    }
    for name, table in answers.items():
        write_table(Path(name, "predictions.parquet"), table, PREDICTIONS)


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["compare", *arguments])


def test_the_comparison_has_a_row_a_metric_and_a_closing_sentence(tables: None) -> None:
    result = compare("a", "b", "--level", "0.9")
    assert result.exit_code == 0
    age, gender, race = cells(result.stdout)
    assert [age[0], *age[1:3], age[4], age[5]] == ["age: mean absolute error, years", "2.97", "1.51", "better", "39"]
    assert re.fullmatch(r"-1\.46 \(-\d\.\d\d to -\d\.\d\d\)", age[3])
    assert [gender[0], *gender[1:3], gender[4]] == ["gender: accuracy, %", "75.00", "90.00", "better"]
    assert gender[3].startswith("+15.00 (+")
    assert [race[0], race[4], race[5]] == ["race: accuracy, %", "worse", "40"]
    assert "B - A (90% interval)" in result.stdout
    assert result.stdout.splitlines()[-1] == (
        "B does not beat A on the 40 rows that both have (40 in A, 40 in B): better in age and gender, worse in race, "
        "1 left out of age as labels differ."
    )


def test_the_closing_sentence_says_who_beats_whom(tables: None) -> None:
    assert compare("a", "better").stdout.splitlines()[-1] == (
        "B beats A on the 38 rows that both have (40 in A, 38 in B): better in age and gender, race not compared."
    )
    assert compare("a", "a").stdout.splitlines()[-1] == (
        "B does not beat A on the 40 rows that both have (40 in A, 40 in B): no difference shown."
    )


def test_the_comparison_as_json_holds_the_numbers(tables: None) -> None:
    found = json.loads(compare("a", "b/predictions.parquet", "--json", "--samples", "300", "--seed", "5").stdout)
    gender = found["metrics"]["gender_accuracy"]
    low, high = gender.pop("low"), gender.pop("high")
    assert 0 < low < 0.15 < high < 0.4
    assert gender.pop("difference") == pytest.approx(0.15)
    counts = {"wins": 6, "losses": 0, "rows": 40, "groups": 40, "conflicts": 0}
    assert gender == {"a": 0.75, "b": 0.9, "verdict": "better", **counts}
    assert found.pop("metrics").keys() == {"age_mae", "gender_accuracy", "race_accuracy"}
    assert found == {
        "a": "a/predictions.parquet",
        "b": "b/predictions.parquet",
        "rows": {"a": 40, "b": 40, "common": 40},
        "samples": 300,
        "seed": 5,
        "level": 0.95,
        "not_compared": [],
        "beats": False,
    }
    assert json.loads(compare("a", "better", "--json").stdout)["beats"] is True


@pytest.mark.parametrize("side", ["first", "second"])
@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ("absent", "absent cannot be read as a table: "),
        ("empty", "empty/predictions.parquet cannot be read as a table: "),
        ("html", "html cannot be read as a table: "),
        ("truncated.parquet", "truncated.parquet cannot be read as a table: "),
        ("damaged.parquet", "damaged.parquet cannot be read as a table: "),
        ("undecodable.parquet", "undecodable.parquet cannot be read as a table: "),
        ("other.parquet", "other.parquet is no table of predictions; it lacks, or has twice: age, "),
    ],
)
def test_a_wrong_table_is_told_in_one_line(tables: None, spoilt: str, message: str, side: str) -> None:
    Path("empty").mkdir()
    whole = Path("a/predictions.parquet").read_bytes()
    Path("truncated.parquet").write_bytes(whole[: len(whole) // 2])
    Path("damaged.parquet").write_bytes(whole[:4] + bytes(400) + whole[404:])
    write_table(Path("other.parquet"), pa.table({"image_id": ["a"]}), pa.schema([("image_id", pa.string())]))
    not_utf8 = pa.array([b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"image_id": not_utf8}), "undecodable.parquet")
    result = compare(spoilt, "a") if side == "first" else compare("a", spoilt)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"Error: {message}")


def test_a_setting_out_of_range_is_told_in_one_line(tables: None) -> None:
    assert compare("a", "b", "--level", "95").stderr == "Error: level must lie between 0 and 1, not be 95.0\n"


def test_comparing_needs_no_tensorflow(tables: None) -> None:
    program = (
        "import sys; from faceline.cli import main; main(['compare', 'a', 'b'], standalone_mode=False); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "B does not beat A" in done.stdout
