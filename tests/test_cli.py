import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from faceline.cli import main
from faceline.datasets.labels import GENDERS, RACES
from faceline.errors import PictureError
from faceline.faces.decoding import decode, encode_png
from faceline.faces.detection import Face
from faceline.learning import bundle
from faceline.learning.bundle import FaceAnswer

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


def test_the_table_names_every_picture() -> None:
    result = predict("face", "nothing")
    assert result.exit_code == 0
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines() if "│" in line]
    assert cells == [
        ["face", "20x30 at 3, 4", "0.99", "42 (30 to 53)", "female 90%", "asian 60%"],
        ["nothing", "no face", "", "", "", ""],
    ]


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
