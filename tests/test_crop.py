"""The crop: its geometry against hand-made pictures, its rules, and what rejects a picture."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image, ImageFilter

from faceline.datasets.detections import face_rows
from faceline.datasets.tables import FACES
from faceline.errors import SettingsError
from faceline.faces.cropping import CropSettings, counted, crop_face
from faceline.faces.decoding import decode, encode_png
from faceline.faces.detection import Face
from faceline.faces.quality import measure
from faceline.gates.passes import write_pass
from faceline.params import parse_settings
from stages.crop import main, verdict
from tests.builders import spoil, world
from tests.imports import ROOT

PLAIN: dict[str, Any] = {
    "min_score": 0.9,
    "margin": 0.0,
    "fill": "white",
    "size": 32,
    "quality": {"min_face_side": 0, "min_sharpness": 0.0, "min_brightness": 0.0},
}


def settings(**changes: Any) -> CropSettings:
    return parse_settings(CropSettings, {**PLAIN, **changes}, "crop")


def coordinates(width: int, height: int) -> np.ndarray:
    """A picture whose red is x and whose green is y, so that a crop tells where it was taken."""
    y, x = np.mgrid[:height, :width]
    return np.dstack([x, y, np.full_like(x, 100)]).astype(np.uint8)


def test_a_square_box_is_taken_as_it_is() -> None:
    picture = coordinates(100, 80)
    crop = crop_face(picture, Face(10, 20, 32, 32, 1.0), settings())
    np.testing.assert_array_equal(crop, picture[20:52, 10:42])


def test_a_larger_box_is_resized_by_the_same_filter_for_ever() -> None:
    """A committed bundle was trained on such pixels: another filter would serve it others."""
    y, x = np.mgrid[:120, :120]
    picture = np.dstack([(x * 7 + y * 3) % 256, x * x // 9 % 256, (x // 10 + y // 10) % 2 * 255]).astype(np.uint8)
    crop = crop_face(picture, Face(10, 10, 100, 100, 1.0), settings())
    pixels = [[111, 13, 0], [73, 198, 255], [38, 94, 0], [127, 210, 253]]
    pixels += [[202, 13, 255], [167, 198, 0], [130, 94, 255], [93, 210, 0]]
    assert np.abs(crop[:20:10, ::10].reshape(-1, 3).astype(int) - pixels).max() <= 1
    assert crop.mean(axis=(0, 1)) == pytest.approx([128.10, 112.28, 127.5], abs=0.1)


@pytest.mark.parametrize("fill", ["white", "picture"])
def test_a_long_thin_picture_takes_no_square_of_its_length(fill: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []
    new = Image.new
    monkeypatch.setattr(Image, "new", lambda mode, size, *rest: made.append(size) or new(mode, size, *rest))
    crop = crop_face(np.zeros((20, 12_000, 3), np.uint8), Face(0, 0, 12_000, 20, 1.0), settings(fill=fill))
    assert max(width * height for width, height in made) <= 4096**2
    assert crop.shape == (32, 32, 3)
    assert (crop[:12] == 255).all() and (crop[20:] == 255).all()


def test_a_face_in_a_huge_picture_is_where_it_was() -> None:
    picture = np.full((5000, 5000, 3), 255, np.uint8)
    picture[:2500, :2500] = 0
    crop = crop_face(picture, Face(0, 0, 5000, 5000, 1.0), settings())
    assert (crop[:12, :12] == 0).all() and (crop[20:, 20:] == 255).all()


def test_white_fill_keeps_the_aspect_ratio_and_pads_white() -> None:
    crop = crop_face(coordinates(100, 80), Face(10, 20, 16, 32, 1.0), settings())
    assert (crop[:, :8] == 255).all()
    assert (crop[:, 24:] == 255).all()
    np.testing.assert_array_equal(crop[:, 8:24], coordinates(100, 80)[20:52, 10:26])


def test_system_a_has_224_pixels_with_the_rest_padded_white() -> None:
    crop = crop_face(coordinates(100, 80), Face(10, 20, 28, 56, 1.0), settings(size=224))
    assert crop.shape == (224, 224, 3)
    # Four times as wide and high: 56 pixels of white on each side; the resampling reaches 12 pixels across an edge.
    assert (crop[:, :44] == 255).all()
    assert (crop[:, 180:] == 255).all()
    assert (crop[:, 68:156, 2] == 100).all()


def test_picture_fill_takes_the_square_from_the_picture() -> None:
    crop = crop_face(coordinates(100, 80), Face(18, 20, 16, 32, 1.0), settings(fill="picture"))
    np.testing.assert_array_equal(crop, coordinates(100, 80)[20:52, 10:42])


def test_the_margin_is_a_share_of_the_box_on_each_side() -> None:
    crop = crop_face(coordinates(100, 80), Face(26, 36, 16, 16, 1.0), settings(margin=0.5))
    np.testing.assert_array_equal(crop, coordinates(100, 80)[28:60, 18:50])


@pytest.mark.parametrize("fill", ["white", "picture"])
def test_beyond_the_picture_is_white(fill: str) -> None:
    crop = crop_face(coordinates(100, 80), Face(-16, -8, 32, 32, 1.0), settings(fill=fill))
    assert (crop[:8] == 255).all()
    assert (crop[:, :16] == 255).all()
    np.testing.assert_array_equal(crop[8:, 16:], coordinates(100, 80)[:24, :16])


def test_a_box_wholly_outside_is_white() -> None:
    assert (crop_face(coordinates(20, 20), Face(50, 50, 10, 10, 1.0), settings()) == 255).all()


def tilted(degrees: float) -> tuple[np.ndarray, Face]:
    """A face of two eyes, red and green, turned clockwise by so many degrees, and its box, which the turn leaves."""
    angle = np.deg2rad(degrees)
    x, y = 15 * np.cos(angle), 15 * np.sin(angle)
    eyes = [(round(100 - x), round(80 - y)), (round(100 + x), round(80 + y))]
    picture = np.full((160, 200, 3), 90, np.uint8)
    for (column, row), colour in zip(eyes, [(250, 0, 0), (0, 250, 0)], strict=True):
        picture[row - 2 : row + 3, column - 2 : column + 3] = colour
    return picture, Face(70, 50, 60, 60, 1.0, (*eyes[0], *eyes[1], 100, 90, 95, 100, 105, 100))


def eye(crop: np.ndarray, channel: int) -> np.ndarray:
    """Where an eye is: the mean row and column of what is of its colour alone."""
    own = crop[..., channel].astype(int) - crop[..., 1 - channel] > 100
    return np.argwhere(own).mean(axis=0)


@pytest.mark.parametrize("fill", ["white", "picture"])
@pytest.mark.parametrize("degrees", [-100, -30, 10, 45, 170])
def test_aligned_eyes_are_level_wherever_they_were(degrees: float, fill: str) -> None:
    picture, face = tilted(degrees)
    level = crop_face(*tilted(0), settings(size=60, fill=fill))
    crop = crop_face(picture, face, settings(size=60, fill=fill, align=True))
    for channel in (0, 1):
        np.testing.assert_allclose(
            eye(crop, channel), eye(level, channel), atol=1.5
        )  # a pixel's middle is off its corner


def test_a_level_face_is_the_same_aligned() -> None:
    picture = coordinates(100, 80)
    face = Face(10, 20, 33, 40, 1.0, (15, 30, 30, 30, 22, 40, 17, 50, 28, 50))
    for fill in ("white", "picture"):
        aligned = crop_face(picture, face, settings(fill=fill, align=True))
        np.testing.assert_array_equal(aligned, crop_face(picture, face, settings(fill=fill)))


def test_aligning_needs_landmarks_and_is_a_choice() -> None:
    picture, face = tilted(30)
    plain = crop_face(picture, face, settings())
    bare = Face(face.x, face.y, face.width, face.height, face.score)
    np.testing.assert_array_equal(crop_face(picture, bare, settings(align=True)), plain)
    assert (crop_face(picture, face, settings(align=True)) != plain).any()


def test_what_an_aligned_box_brings_from_beyond_the_picture_is_white() -> None:
    grey = np.full((40, 40, 3), 90, np.uint8)
    face = Face(4, 4, 32, 32, 1.0, (10, 10, 20, 20, 0, 0, 0, 0, 0, 0))
    crop = crop_face(grey, face, settings(align=True))
    assert (crop[0, 0] == 255).all()  # the corner of a box turned by 45 degrees reaches over the edge
    assert (crop[16, 16] == 90).all()


def test_only_faces_scored_high_enough_are_counted() -> None:
    faces = [Face(0, 0, 9, 9, 0.95), Face(0, 0, 9, 9, 0.9), Face(0, 0, 9, 9, 0.89)]
    assert counted(faces, settings()) == faces[:2]


@pytest.mark.parametrize("score", [0.9, 0.7, 0.8999, 0.9001])
def test_a_face_is_counted_alike_from_the_detector_and_from_the_table_of_faces(score: float) -> None:
    (row,) = pa.Table.from_pylist(face_rows("x", [Face(0, 0, 9, 9, score)]), FACES).to_pylist()
    stored = Face(0, 0, 9, 9, row["score"])
    for limit in (0.7, 0.9):
        served = counted([Face(0, 0, 9, 9, score)], settings(min_score=limit))
        assert len(served) == len(counted([stored], settings(min_score=limit))) == (score >= limit)


def noise(side: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def judge(picture: np.ndarray, faces: list[Face] | str, **changes: Any) -> dict[str, Any]:
    return verdict(encode_png(picture), faces, settings(**changes), 10_000)


FACE = Face(16, 16, 32, 32, 0.99)


@pytest.mark.parametrize(
    ("faces", "reason", "detail"),
    [
        ([], "no_face", "0 faces"),
        ([Face(0, 0, 9, 9, 0.5)], "no_face", "0 faces"),
        ([FACE, FACE], "several_faces", "2 faces"),
        ([FACE, FACE, FACE], "several_faces", "3 faces"),
        ("ValueError: boom", "detector_failed", "boom"),
    ],
)
def test_a_picture_without_exactly_one_face_is_rejected_with_the_count(faces: Any, reason: str, detail: str) -> None:
    row = judge(noise(), faces)
    assert row["reason"] == reason
    assert detail in row["detail"]
    assert "png" not in row


def test_quality_bounds() -> None:
    bounds = {"min_face_side": 20, "min_sharpness": 50.0, "min_brightness": 40.0}
    assert "png" in judge(noise(), [FACE], quality=bounds)
    assert judge(noise(), [Face(0, 0, 40, 19, 1.0)], quality=bounds)["reason"] == "face_too_small"
    blurred = np.asarray(Image.fromarray(noise()).filter(ImageFilter.GaussianBlur(4)))
    assert judge(blurred, [FACE], quality=bounds)["reason"] == "blurred"
    assert judge(noise() // 8, [FACE], quality={**bounds, "min_sharpness": 0})["reason"] == "too_dark"


def test_white_padding_does_not_pass_for_sharpness() -> None:
    grey = np.full((64, 64, 3), 90, np.uint8)
    grey[:, :14] = grey[:, -14:] = 255
    assert measure(grey, 30).sharpness == 0


def test_crops_are_lossless() -> None:
    row = judge(noise(), [FACE])
    np.testing.assert_array_equal(decode(row["png"], max_pixels=10_000), crop_face(noise(), FACE, settings()))
    assert (row["face_side"], row["brightness"] > 0) == (32, True)


@pytest.mark.parametrize("change", [{"size": 8}, {"fill": "black"}, {"margin": -0.1}, {"quality": {}}])
def test_bad_settings(change: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"crop.{next(iter(change))}"):
        settings(**change)


def test_pictures_that_detection_has_not_seen_are_no_pictures_without_a_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world(tmp_path)
    spoil(made / "detect/faces.parquet", lambda frame: frame[frame["image_id"] != made.image_id(5)])
    for gate in ("ingest", "clean", "detect"):
        write_pass(tmp_path / "gates", gate, made / gate)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    folders = [option for name in ("ingest", "clean", "detect", "gates") for option in (f"--{name}", name)]
    result = CliRunner().invoke(main, [*folders, "--output", "crop"])
    assert result.exit_code == 2
    assert "detect lacks 1 of the kept pictures; run `dvc repro detect`" in result.stderr
