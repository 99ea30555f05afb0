"""Judging on any source, with a stand-in for the networks that answers the crop's brightness as the age."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceline.datasets import detections
from faceline.datasets.sources.source import Item, Labels, Rejection, Sample
from faceline.datasets.tables import PREDICTIONS
from faceline.errors import SourceError
from faceline.evaluation import anywhere
from faceline.evaluation.anywhere import Bundle, Evaluation, evaluate_items
from faceline.evaluation.metrics import Constants, evaluate
from faceline.faces.cropping import CropSettings
from faceline.faces.decoding import encode_png
from faceline.faces.detection import DetectSettings, Face
from faceline.faces.quality import QualitySettings
from faceline.learning.answering import Answers

SIDE = 40  # pixels
QUALITY = QualitySettings(min_face_side=4, min_sharpness=0, min_brightness=5)
CROP = CropSettings(min_score=0.8, margin=0.25, fill="picture", size=16, quality=QUALITY)
CONSTANTS = Constants(age_median=50, gender_majority=1)


class Finds:
    """As many faces as the red of the first pixel says, in the picture's left half; 9 makes it fail."""

    def __init__(self, settings: DetectSettings):
        assert settings.enabled

    def detect(self, pictures: Sequence[np.ndarray]) -> list[list[Face]]:
        counts = [int(picture[0, 0, 0]) for picture in pictures]
        if 9 in counts:
            raise RuntimeError("broken")
        return [[Face(0, 10, 20, 20, 0.9)] * count + [Face(0, 0, 9, 9, 0.5)] for count in counts]


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anywhere, "Detector", Finds)


def answer(crops: np.ndarray) -> Answers:
    levels = crops[:, 4:-4, 4:-4].mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)
    return Answers(age=levels, age_low=levels - 5, age_high=levels + 5)


def bundle(**changes: Any) -> Bundle:
    whole: dict[str, Any] = {"detect": DetectSettings(), "crop": CROP, "max_pixels": 10_000, "min_side": 16}
    return Bundle(answer, CONSTANTS, **{**whole, **changes})


def picture(faces: int, face: int, rest: int = 0) -> bytes:
    """A picture of `faces` faces in the left half, of one grey level, and a rest of another."""
    pixels = np.full((SIDE, SIDE, 3), rest, np.uint8)
    pixels[:, :30] = face
    pixels[0, 0, 0] = faces
    return encode_png(pixels)


def samples(*pictures: bytes, age: int | None = 60, gender: int | None = None) -> list[Item]:
    return [Sample(f"a/{number}", data, Labels(age, gender)) for number, data in enumerate(pictures)]


def judge(items: list[Item], judged: Bundle | None = None) -> Evaluation:
    return evaluate_items(items, judged or bundle(), "faces.tar")


def test_found_faces_and_all_readable_pictures_are_judged_apart(finds: None) -> None:
    rejected = [Rejection("a/x", "malformed_name", ""), Sample("a/y", b"<html>", Labels(3))]
    pictures = [picture(1, 50), picture(0, 80, 90), picture(2, 100, 90), picture(9, 110, 90), picture(1, 3)]
    found = judge([*samples(*pictures, pictures[0]), *rejected])
    metrics = found.metrics
    assert metrics["rows"] == 1 and metrics["age"]["mae"] == pytest.approx(10, abs=0.5)
    everything = metrics["all_readable"]
    answers = [50, 82, 97, 104, 3]  # of whole pictures the middle is face and rest
    assert everything["rows"] == 5
    assert everything["age"]["mae"] == pytest.approx(np.mean([abs(60 - level) for level in answers]), abs=1.5)
    assert metrics["coverage"] == {"readable": 6, "cleaned": 5, "judged": 1, "share": 0.2, "label_rules": 0.833333}
    assert metrics["rows_in"] == 8
    assert metrics["rejected"] == {
        "detector_failed": 1, "duplicate": 1, "malformed_name": 1, "no_face": 1, "not_a_picture": 1,
        "several_faces": 1, "too_dark": 1,
    }  # fmt: skip
    assert metrics["rows_in"] == metrics["rows"] + sum(metrics["rejected"].values())


def test_the_predictions_give_the_metrics_again(finds: None) -> None:
    found = judge(samples(picture(1, 50), picture(0, 80), picture(1, 70), age=60, gender=1))
    assert found.predictions.schema == PREDICTIONS
    assert found.predictions.num_rows == 2
    again = evaluate(found.predictions, CONSTANTS)
    assert again == {name: found.metrics[name] for name in again}
    assert "gender" not in again  # the bundle does not answer it


def test_pictures_of_one_subject_are_a_group(finds: None) -> None:
    pictures = [picture(1, 40 + number) for number in range(4)]
    subjects = ["one", "two", "one", None]
    items: list[Item] = [
        Sample(f"a/{number}", data, Labels(60, subject=subject))
        for number, (data, subject) in enumerate(zip(pictures, subjects, strict=True))
    ]
    names = [hashlib.sha256(data).hexdigest() for data in pictures]
    assert judge(items).predictions["group"].to_pylist() == [names[0], names[1], names[0], None]


def test_batches_do_not_change_the_result(finds: None, monkeypatch: pytest.MonkeyPatch) -> None:
    items = samples(*(picture(number % 3, 40 + number) for number in range(11)))
    whole, sizes = judge(items), []

    def counted(crops: np.ndarray) -> Answers:
        sizes.append(len(crops))
        return answer(crops)

    monkeypatch.setattr(detections, "CHUNK", 4)
    parts = evaluate_items(items, Bundle(counted, CONSTANTS, DetectSettings(), CROP, 10_000, 16), "faces.tar")
    assert sizes == [4, 4, 3]
    assert parts.metrics == whole.metrics
    assert parts.predictions.equals(whole.predictions)


def test_pictures_that_are_faces_already_are_taken_whole() -> None:
    """No detector is made (Finds is not in place), and a margin would be the white around the picture."""
    found = judge(samples(picture(0, 50, 50), picture(2, 90, 90), age=60), bundle(search=False))
    assert found.metrics["coverage"]["share"] == 1
    assert found.metrics["age"]["mae"] == pytest.approx(20, abs=0.5)
    assert found.predictions["age_predicted"].to_pylist() == pytest.approx([50, 90], abs=0.5)


@pytest.mark.parametrize("search", [True, False])
def test_a_bundle_trained_on_whole_pictures_keeps_its_margin(search: bool) -> None:
    wide = CROP.model_copy(update={"margin": 1.0})
    found = judge(samples(picture(0, 50, 50)), bundle(detect=DetectSettings(enabled=False), crop=wide, search=search))
    assert found.predictions["age_predicted"].to_pylist()[0] > 100  # mostly the white around it


def test_labels_that_are_missing_or_cannot_be_are_null(finds: None) -> None:
    ages = [30, None, -31, 1200]
    items = [Sample(f"a/{age}", picture(1, 50 + (age or 0) % 7), Labels(age)) for age in ages]
    found = judge(items)
    assert found.predictions["age"].to_pylist() == [30, None, None, None]
    assert found.predictions["race"].null_count == 4
    assert found.metrics["implausible_ages"] == 2
    assert found.metrics["slices"]["age"]["30-39"]["age"]["n"] == 1


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "faces.tar holds no picture"),
        (
            [Rejection("a", "malformed_name", ""), *samples(b"", b"")],
            "faces.tar has 3 rows, but no picture that can be used: empty_file 2, malformed_name 1",
        ),
        (samples(picture(1, 50), age=None, gender=1), "faces.tar has no label of what the bundle answers: age"),
    ],
)
def test_what_cannot_be_judged_is_told_in_one_line(finds: None, items: list[Item], message: str) -> None:
    with pytest.raises(SourceError) as caught:
        judge(items)
    assert caught.value.message == message


def test_without_any_good_face_only_all_readable_pictures_have_metrics(finds: None) -> None:
    metrics = judge(samples(picture(0, 50), picture(2, 60))).metrics
    assert metrics["rows"] == 0 and "age" not in metrics and metrics["coverage"]["share"] == 0
    assert metrics["all_readable"]["rows"] == 2 and metrics["all_readable"]["age"]["mae"] > 0


def test_the_limits_of_the_card_hold(finds: None, tmp_path: Path) -> None:
    items = samples(
        picture(1, 50), encode_png(np.zeros((8, 90, 3), np.uint8)), encode_png(np.zeros((200, 90, 3), np.uint8))
    )
    assert judge(items).metrics["rejected"] == {"too_many_pixels": 1, "too_small": 1}
