"""Detection: batching, the store, and what becomes of pictures without a face or that make the detector fail."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import stages.detect
from faceline.datasets import detections
from faceline.datasets.detections import Part, detect_each, read_store, search, store_folder
from faceline.datasets.tables import FACES, IMAGES
from faceline.errors import SettingsError
from faceline.faces.decoding import encode_png
from faceline.faces.detection import DetectSettings, Face
from faceline.faces.detector import Detector
from faceline.files import write_table
from faceline.params import parse_settings
from stages.detect import counts, missing_parts

SETTINGS = DetectSettings(enabled=False)


class FakeDetector:
    """Finds a face as wide as the picture's first pixel is red; on one shade it breaks."""

    def __init__(self, _: DetectSettings | None = None, broken: int = 255):
        self.calls: list[int] = []
        self.broken = broken

    def detect(self, pictures: list[np.ndarray]) -> list[list[Face]]:
        self.calls.append(len(pictures))
        reds = [int(picture[0, 0, 0]) for picture in pictures]
        if self.broken in reds:
            raise ValueError("no such red")
        return [[Face(0, 0, red, 5, 0.9, tuple(range(10)))] if red else [] for red in reds]


def picture(red: int) -> np.ndarray:
    pixels = np.zeros((30, 30, 3), np.uint8)
    pixels[0, 0, 0] = red
    return pixels


def images(folder: Path, *parts: list[int]) -> Path:
    """Parts of an images table whose image_ids are the red values."""
    for index, reds in enumerate(parts):
        rows = [{"image_id": f"id{red}", "path": f"{red}.png", "bytes": encode_png(picture(red))} for red in reds]
        write_table(folder / f"part-{index:05}.parquet", pa.Table.from_pylist(rows, IMAGES), IMAGES)
    return folder


def test_one_failing_picture_does_not_cost_the_others() -> None:
    answers = detect_each(FakeDetector(), [picture(red) for red in (3, 255, 0, 7)])  # type: ignore[arg-type]
    assert [a if isinstance(a, str) else [f.width for f in a] for a in answers] == [
        [3],
        "ValueError: no such red",
        [],
        [7],
    ]


def test_every_picture_has_a_row_and_the_store_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeDetector()
    monkeypatch.setattr(detections, "_detector", lambda _: fake)
    parts = images(tmp_path / "images", [9, 0, 255], [4, 5])
    folder = store_folder(tmp_path / "store", SETTINGS)
    wanted = {"id9", "id0", "id255", "id5"}
    todo = missing_parts(parts, wanted, SETTINGS, 10_000, folder)
    assert [part.image_ids for part in todo] == [{"id9", "id0", "id255"}, {"id5"}]
    assert [search(part) for part in todo] == [3, 1]
    faces = read_store(folder, wanted)
    assert faces.schema.equals(FACES)
    assert faces.column("image_id").to_pylist() == ["id0", "id255", "id5", "id9"]
    assert faces.column("count").to_pylist() == [0, None, 1, 1]
    assert faces.column("width").to_pylist() == [None, None, 5, 9]
    assert faces.column("error").to_pylist()[1] == "ValueError: no such red"
    assert counts(faces) == {"none": 1, "one": 2, "several": 0, "failed": 1}
    more = missing_parts(parts, wanted | {"id4"}, SETTINGS, 10_000, folder)
    assert [part.image_ids for part in more] == [{"id255"}, {"id4"}]  # a failure is tried again


def test_more_faces_than_the_table_can_number_fail_their_picture_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crowds(FakeDetector):
        def detect(self, pictures: list[np.ndarray]) -> list[list[Face]]:
            counts = [2**15 - int(picture[0, 0, 0]) for picture in pictures]
            return [[Face(0, 0, 5, 5, 0.9, tuple(range(10)))] * count for count in counts]

    monkeypatch.setattr(detections, "_detector", Crowds)
    parts = images(tmp_path / "images", [0, 1])
    wanted = frozenset({"id0", "id1"})
    search(Part(parts / "part-00000.parquet", wanted, SETTINGS, 10_000, tmp_path / "store"))
    faces = read_store(tmp_path / "store", wanted)
    assert faces["image_id"].to_pylist() == ["id0"] + ["id1"] * (2**15 - 1)
    assert faces["error"][0].as_py() == "too many faces: 32768"
    assert (faces["count"][-1].as_py(), faces["face"][-1].as_py()) == (2**15 - 1, 2**15 - 2)


def test_few_missing_pictures_are_several_tasks_of_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages.detect, "FEWEST", 2)
    parts = images(tmp_path / "images", [1, 2, 3, 4, 5], [6])
    wanted = {"id1", "id2", "id3", "id5", "id6"}
    todo = missing_parts(parts, wanted, SETTINGS, 10_000, tmp_path / "store")
    assert [sorted(part.image_ids) for part in todo] == [["id1", "id2"], ["id3", "id5"], ["id6"]]
    assert list(map(len, todo)) == [2, 2, 1]


def test_a_failure_made_good_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = images(tmp_path / "images", [9, 255])
    for ids, seen in (({"id9", "id255"}, 255), ({"id255"}, 3)):
        monkeypatch.setattr(detections, "_detector", lambda _, seen=seen: FakeDetector(broken=seen))
        search(Part(parts / "part-00000.parquet", frozenset(ids), SETTINGS, 10_000, tmp_path / "store"))
    faces = read_store(tmp_path / "store", {"id9", "id255"})
    assert faces["image_id"].to_pylist() == ["id255", "id9"]
    assert faces["error"].to_pylist() == [None, None]


def test_a_picture_stored_twice_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detections, "_detector", FakeDetector)
    parts = images(tmp_path / "images", [9, 4])
    for ids in ({"id9"}, {"id9", "id4"}):
        search(Part(parts / "part-00000.parquet", frozenset(ids), SETTINGS, 10_000, tmp_path / "store"))
    assert len(list((tmp_path / "store").glob("*.parquet"))) == 2
    assert read_store(tmp_path / "store", {"id9", "id4"}).column("image_id").to_pylist() == ["id4", "id9"]


@pytest.mark.parametrize("keep", [0, 40, -8])
def test_a_damaged_file_of_the_store_is_as_good_as_none(
    keep: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detections, "_detector", lambda _: FakeDetector())
    parts = images(tmp_path / "images", [9, 4])
    folder = store_folder(tmp_path / "store", SETTINGS)
    wanted = {"id9", "id4"}
    for part in missing_parts(parts, wanted, SETTINGS, 10_000, folder):
        search(part)
    file = next(folder.glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:keep])
    (folder / "other.parquet").write_bytes((parts / "part-00000.parquet").read_bytes())
    todo = missing_parts(parts, wanted, SETTINGS, 10_000, folder)
    assert [search(part) for part in todo] == [2]
    assert read_store(folder, wanted).column("image_id").to_pylist() == ["id4", "id9"]


def test_other_settings_use_another_store(tmp_path: Path) -> None:
    other = DetectSettings(enabled=True, thresholds=(0.5, 0.7, 0.8))
    assert store_folder(tmp_path, DetectSettings(enabled=True)) != store_folder(tmp_path, other)


def test_pictures_that_are_faces_already_are_taken_whole() -> None:
    found = Detector(SETTINGS).detect([np.zeros((30, 48, 3), np.uint8)])
    assert found == [[Face(0, 0, 48, 30, 1.0)]]


def test_detection_is_switched_off_by_false() -> None:
    assert parse_settings(DetectSettings, False, "detect") == SETTINGS
    assert parse_settings(DetectSettings, {}, "detect").enabled


def test_a_face_size_that_the_package_cannot_find_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"detect.min_face_size = 40"):
        parse_settings(DetectSettings, {"min_face_size": 40}, "detect")


def test_chunks_hold_neither_too_many_pictures_nor_too_many_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detections, "CHUNK", 3)
    monkeypatch.setattr(detections, "CHUNK_PIXELS", 2 * 900)  # of two pictures
    fake = FakeDetector()
    monkeypatch.setattr(detections, "_detector", lambda _: fake)
    parts = images(tmp_path / "images", [1, 2, 3, 4, 5])
    wanted = frozenset({"id1", "id2", "id4", "id5"})
    assert search(Part(parts / "part-00000.parquet", wanted, SETTINGS, 10_000, tmp_path / "store")) == 4
    assert fake.calls == [2, 2]
    assert read_store(tmp_path / "store", wanted)["width"].to_pylist() == [1, 2, 4, 5]


def test_a_picture_too_small_for_the_pyramid_has_no_face() -> None:
    small = np.zeros((16, 200, 3), np.uint8)
    assert Detector(DetectSettings()).detect([small, np.zeros((24, 24, 3), np.uint8)]) == [[], []]
