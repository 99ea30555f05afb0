"""The gates of ingest, clean, detect and crop: good tables pass, and each fault stops them and names its row."""

import hashlib
from typing import Any

import pandas as pd
import pytest

from faceline.files import read_json, write_json
from faceline.gates.frames import png_sides, spread
from tests.builders import FAILED, NO_FACE, TWO_FACES, UNREADABLE, World, drop_column, spoil
from tests.judging import failures, judge

TABLES = [
    ("ingest", "ingest/labels.parquet", "race"),
    ("ingest", "ingest/images/part-00001.parquet", "path"),
    ("ingest", "ingest/overrides.parquet", "note"),
    ("clean", "clean/kept.parquet", "phash"),
    ("clean", "clean/rejected.parquet", "reason"),
    ("detect", "detect/faces.parquet", "landmarks"),
    ("crop", "crop/faces/part-00000.parquet", "png"),
    ("split", "split/assignment.parquet", "group"),
    ("evaluate", "evaluate/predictions.parquet", "age_low"),
]


def put(frame: pd.DataFrame, made: World, index: int, column: str, value: Any) -> None:
    frame.loc[frame["image_id"] == made.image_id(index), column] = value


@pytest.mark.parametrize("name", ["ingest", "clean", "detect", "crop"])
def test_good_tables_pass(good: World, name: str) -> None:
    verdict = judge(good, name)
    assert failures(verdict) == {}
    assert verdict.success
    assert verdict.numbers["rows"] > 50


@pytest.mark.parametrize(("name", "file", "column"), TABLES)
def test_a_missing_column_stops_the_judgement(made: World, name: str, file: str, column: str) -> None:
    drop_column(made / file, column)
    verdict = judge(made, name)
    names = next(finding for finding in verdict.findings if not finding.success)
    assert names.expectation == "expect_table_columns_to_match_ordered_list"
    assert column in names.expected["column_list"]
    assert column not in names.observed
    assert verdict.skipped


def test_a_column_of_another_type_is_named(made: World) -> None:
    frame = pd.read_parquet(made / "clean/kept.parquet")
    frame.astype({"age": "float64"}).to_parquet(made / "clean/kept.parquet")
    verdict = judge(made, "clean")
    types = next(finding for finding in verdict.findings if finding.table == "clean/kept.parquet, types")
    assert {"column": "kept.parquet: age", "type": "double", "declared": "int16"} in types.examples


@pytest.mark.parametrize("damage", ["missing", "not Parquet"])
def test_a_missing_or_damaged_table_fails(made: World, damage: str) -> None:
    (made / "clean/kept.parquet").unlink()
    if damage == "not Parquet":
        (made / "clean/kept.parquet").write_bytes(b"PAR1 but cut")
    assert ("clean/kept.parquet, columns", None) in failures(judge(made, "clean"))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ingest", "ingest/labels.parquet"),
        ("clean", "clean/kept.parquet"),
        ("detect", "detect/faces.parquet"),
        ("split", "split/assignment.parquet"),
        ("evaluate", "evaluate/predictions.parquet"),
    ],
)
def test_an_empty_table_fails(made: World, name: str, file: str) -> None:
    spoil(made / file, lambda frame: frame[:0])
    verdict = judge(made, name)
    counts = [finding for finding in verdict.findings if finding.expectation == "expect_table_row_count_to_be_between"]
    assert any(not finding.success and finding.observed == 0 for finding in counts)


def test_crops_that_were_all_rejected_fail(made: World) -> None:
    for part in (made / "crop/faces").iterdir():
        spoil(part, lambda frame: frame[:0])
    assert ("faces", None) in failures(judge(made, "crop"))


def test_ingest_names_every_fault(made: World) -> None:
    def labels(frame: pd.DataFrame) -> None:
        put(frame, made, 10, "gender", 2)
        put(frame, made, 11, "width", 0)
        put(frame, made, 12, "race", 7)
        put(frame, made, 13, "path", made.path(14))
        put(frame, made, 15, "image_id", "short")
        put(frame, made, 16, "height", 101)
        put(frame, made, 17, "phash", None)

    def images(frame: pd.DataFrame) -> pd.DataFrame:
        put(frame, made, 20, "bytes", b"other")
        put(frame, made, 21, "bytes", b"")
        return pd.concat([frame[frame["image_id"] != made.image_id(22)], frame[frame["image_id"] == made.image_id(23)]])

    spoil(made / "ingest/labels.parquet", labels)
    spoil(made / "ingest/images/part-00000.parquet", images)
    spoil(made / "ingest/rejected.parquet", lambda frame: frame.assign(reason=None))
    of = made.image_id
    assert failures(judge(made, "ingest")) == {
        ("labels.parquet", "gender"): [made.path(10)],
        ("labels.parquet", "width"): [made.path(11)],
        ("labels.parquet", "race"): [made.path(12)],
        ("labels.parquet", "path"): [made.path(14)],
        ("labels.parquet", "image_id"): [made.path(15)],
        ("labels.parquet", "height"): [made.path(16)],
        ("labels.parquet", "phash"): [made.path(17)],
        ("images", "image_id"): sorted([of(20), of(21), of(23)]),
        ("images", "bytes"): [of(21)],
        ("pictures decoded again", "problem"): sorted([of(20), of(21)]),
        ("labels beside pictures", "width"): [made.path(11)],
        ("labels beside pictures", "height"): [made.path(16)],
        ("pictures of labels", "pictures"): sorted([of(22), of(23), "short"]),
        ("pictures of labels", "labelled"): [of(15)],
        ("rejected.parquet", "reason"): [UNREADABLE],
        ("summary.json", "said"): ["rejected.empty_file"],
    }


@pytest.mark.parametrize(
    ("column", "value"),
    [("width", 15), ("height", 17), ("phash", lambda old: old ^ 7), ("thumbnail", lambda old: old[::-1])],
)
def test_ingest_measures_pictures_again(made: World, column: str, value: Any) -> None:
    def labels(frame: pd.DataFrame) -> None:
        put(frame, made, 10, column, value(made.pictures[column][10]) if callable(value) else value)

    spoil(made / "ingest/labels.parquet", labels)
    judged = {"phash": "phash_bits"}.get(column, column)
    assert failures(judge(made, "ingest")) == {("labels beside pictures", judged): [made.path(10)]}


def test_ingest_asks_for_every_thumbnail(made: World) -> None:
    spoil(made / "ingest/labels.parquet", lambda frame: put(frame, made, 10, "thumbnail", None))
    assert failures(judge(made, "ingest"))[("labels.parquet", "thumbnail")] == [made.path(10)]


def test_ingest_names_a_picture_that_cannot_be_decoded(made: World) -> None:
    cut = made.pictures["bytes"][20][:60]
    named = hashlib.sha256(cut).hexdigest()

    def rename(frame: pd.DataFrame) -> None:
        if "bytes" in frame:
            put(frame, made, 20, "bytes", cut)
        put(frame, made, 20, "image_id", named)

    for file in ("labels.parquet", "images/part-00000.parquet"):
        spoil(made / "ingest" / file, rename)
    verdict = judge(made, "ingest")
    assert failures(verdict) == {("pictures decoded again", "problem"): [named]}
    assert "truncated_picture" in verdict.failure()


@pytest.mark.parametrize(
    ("most", "places"), [(0, []), (1, [0]), (2, [0, 59]), (4, [0, 19, 39, 59]), (60, [*range(60)]), (99, [*range(60)])]
)
def test_rows_of_all_parts_are_chosen_evenly(good: World, most: int, places: list[int]) -> None:
    assert sorted(spread(good / "ingest/images", most)) == places


def test_sides_are_those_of_a_png_alone(good: World) -> None:
    png = good.pictures["bytes"][0]
    assert png_sides(png) == (16, 16)
    assert png_sides(png[:18]) == png_sides(b"GIF89a") == png_sides(b"") == png_sides(None) == (0, 0)


def test_ingest_bounds_the_table_as_a_whole(made: World) -> None:
    def labels(frame: pd.DataFrame) -> None:
        frame["gender"] = 1
        frame["age"] = 80
        frame.loc[:9, "gender"] = None

    spoil(made / "ingest/labels.parquet", labels)
    assert set(failures(judge(made, "ingest", max_rejected=0.01))) == {
        ("labels, labels", "gender"),
        ("labels, shares of labels", "female"),
        ("labels, ages from 0 to 116", "age"),
        ("shares of the sources' rows", "rejected"),
    }


def test_clean_names_every_fault(made: World) -> None:
    def kept(frame: pd.DataFrame) -> pd.DataFrame:
        put(frame, made, 10, "age", 8)
        put(frame, made, 11, "gender", 1 - frame["gender"])
        put(frame, made, 12, "path", "elsewhere")
        put(frame, made, 1, "age", 21)  # the override is undone
        return frame[frame["image_id"] != made.image_id(13)]

    def dropped(frame: pd.DataFrame) -> pd.DataFrame:
        doubled = frame[:1].assign(path=made.path(14), reason="Two reasons")
        return pd.concat([frame, doubled])

    spoil(made / "clean/kept.parquet", kept)
    spoil(made / "clean/rejected.parquet", dropped)
    assert failures(judge(made, "clean")) == {
        ("kept.parquet", "age"): [made.path(10)],
        ("path before and after", "before"): ["elsewhere"],
        ("path before and after", "after"): [made.path(12), made.path(13), made.path(14)],
        **{
            ("kept beside labels", name): ["elsewhere"]
            for name in ("image_id", "width", "height", "phash", "thumbnail")
        },
        ("kept beside labels", "age"): ["elsewhere", made.path(1), made.path(10)],
        ("kept beside labels", "gender"): ["elsewhere", made.path(11)],
        ("kept beside labels", "race"): ["elsewhere"],
        ("rejected.parquet", "reason"): [made.path(14)],
        ("summary.json", "said"): ["kept", "rejected.Two reasons"],
    }


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("width", 15),
        ("height", 17),
        ("phash", lambda old: old ^ 1),
        ("phash", None),
        ("thumbnail", lambda old: old[::-1]),
        ("subject", "someone"),
    ],
)
def test_clean_alters_nothing_that_the_source_says(made: World, column: str, value: Any) -> None:
    def kept(frame: pd.DataFrame) -> None:
        put(frame, made, 10, column, value(made.pictures[column][10]) if callable(value) else value)

    spoil(made / "clean/kept.parquet", kept)
    assert failures(judge(made, "clean")) == {("kept beside labels", column): [made.path(10)]}


def test_no_report_holds_a_thumbnail(made: World) -> None:
    spoil(made / "clean/kept.parquet", lambda frame: frame.assign(thumbnail=made.pictures["thumbnail"][10]))
    found = next(each for each in judge(made, "clean").findings if not each.success)
    assert {len(example["thumbnail"]) for example in found.examples} == {64}


def test_clean_bounds_the_share_of_rejected_rows(good: World) -> None:
    verdict = judge(good, "clean", max_rejected=0.01)
    assert set(failures(verdict)) == {("shares of the readable rows", "rejected")}
    assert verdict.findings[-1].observed == pytest.approx(2 / 60, abs=1e-6)


def test_detect_names_every_fault(made: World) -> None:
    def faces(frame: pd.DataFrame) -> pd.DataFrame:
        put(frame, made, 10, "width", 0)
        put(frame, made, 11, "score", 1.5)
        put(frame, made, 12, "count", 2)
        put(frame, made, 13, "image_id", "0" * 64)
        put(frame, made, 14, "x", None)
        put(frame, made, NO_FACE, "error", "and yet")
        put(frame, made, TWO_FACES, "face", [1, 0])
        return frame[frame["image_id"] != made.image_id(FAILED)]

    spoil(made / "detect/faces.parquet", faces)
    of = made.image_id
    assert failures(judge(made, "detect")) == {
        ("faces.parquet", "row"): sorted([of(14), of(NO_FACE)]),
        ("faces.parquet", "width"): [of(10)],
        ("faces.parquet", "score"): [of(11)],
        ("boxes in their pictures", "shared_width"): [of(10)],
        ("pictures", "kept"): ["0" * 64],
        ("pictures", "rows"): sorted([of(FAILED), of(12), of(13)]),
        ("pictures", "counts"): sorted([of(FAILED), of(13)]),
        ("pictures", "faces"): [of(12)],
        ("pictures", "ordered"): sorted([of(TWO_FACES), of(FAILED), of(13)]),
    }


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("x", 16, "shared_width"),
        ("x", -9, "shared_width"),
        ("y", 16, "shared_height"),
        ("y", -8, "shared_height"),
        ("width", 33, "times_width"),
        ("height", 33, "times_height"),
    ],
)
def test_detect_holds_each_box_against_its_picture(made: World, column: str, value: int, named: str) -> None:
    spoil(made / "detect/faces.parquet", lambda frame: put(frame, made, 10, column, value))
    assert failures(judge(made, "detect")) == {("boxes in their pictures", named): [made.image_id(10)]}


def test_detect_lets_a_box_reach_beyond_its_picture(made: World) -> None:
    spoil(made / "detect/faces.parquet", lambda frame: put(frame, made, 10, ["x", "width"], [-8, 32]))
    assert judge(made, "detect").success


def test_detect_asks_for_no_landmarks(made: World) -> None:
    spoil(made / "detect/faces.parquet", lambda frame: frame.assign(landmarks=None))
    assert judge(made, "detect").success


def test_detect_bounds_the_whole(good: World) -> None:
    verdict = judge(good, "detect", min_found=0.99, max_errors=0.01)
    assert set(failures(verdict)) == {
        ("shares of the kept pictures", "found"),
        ("shares of the kept pictures", "failed"),
    }


def test_crop_names_every_fault(made: World) -> None:
    def crops(frame: pd.DataFrame) -> pd.DataFrame:
        png = made.pictures["bytes"][30]
        put(frame, made, 7, "png", png[:19] + bytes([8]) + png[20:])  # 8 wide
        put(frame, made, 8, "png", b"GIF89a")
        put(frame, made, 9, "sharpness", float("nan"))
        put(frame, made, 10, "sharpness", float("inf"))
        put(frame, made, 11, "brightness", 256)
        put(frame, made, 12, "face_side", 0)
        return pd.concat([frame[frame["image_id"] != made.image_id(13)], frame[frame["image_id"] == made.image_id(14)]])

    spoil(made / "crop/faces/part-00000.parquet", crops)
    spoil(made / "crop/rejected.parquet", lambda frame: frame.assign(reason=["no_face", None, "detector_failed"]))
    of = made.image_id
    assert failures(judge(made, "crop")) == {
        ("faces", "image_id"): [of(14)],
        ("faces", "png_width"): sorted([of(7), of(8)]),
        ("faces", "sharpness"): sorted([of(9), of(10)]),
        ("faces", "brightness"): [of(11)],
        ("faces", "face_side"): [of(12)],
        ("crops measured again", "problem"): sorted([of(7), of(8)]),
        ("crops measured again", "brightness_gap"): [of(11)],
        ("image_id before and after", "after"): sorted([of(13), of(14)]),
        ("rejected.parquet", "reason"): [of(TWO_FACES)],
        ("summary.json", "said"): ["rejected.several_faces"],
    }


def test_crop_names_crops_that_are_not_those_of_their_pictures(made: World) -> None:
    def swap(frame: pd.DataFrame) -> None:
        put(frame, made, 7, "png", made.pictures["bytes"][8])
        put(frame, made, 8, "png", made.pictures["bytes"][7])

    spoil(made / "crop/faces/part-00000.parquet", swap)
    swapped = sorted([made.image_id(7), made.image_id(8)])
    assert failures(judge(made, "crop")) == {
        ("crops measured again", "sharpness_gap"): swapped,
        ("crops measured again", "brightness_gap"): swapped,
    }


def test_crop_names_a_crop_that_is_cut_off(made: World) -> None:
    cut = made.pictures["bytes"][7][:60]
    spoil(made / "crop/faces/part-00000.parquet", lambda frame: put(frame, made, 7, "png", cut))
    verdict = judge(made, "crop")
    assert failures(verdict) == {("crops measured again", "problem"): [made.image_id(7)]}
    assert "truncated_picture" in verdict.failure()


def test_one_crop_for_all_pictures_fails(made: World) -> None:
    for part in (made / "crop/faces").iterdir():
        spoil(part, lambda frame: frame.assign(png=made.pictures["bytes"][7]))
    shares = {finding.column: finding.share for finding in judge(made, "crop").findings if not finding.success}
    assert shares == {name: pytest.approx(54 / 55, abs=1e-6) for name in ("sharpness_gap", "brightness_gap")}


def test_a_summary_that_does_not_add_up_fails(made: World) -> None:
    summary = read_json(made / "crop/summary.json")
    write_json(made / "crop/summary.json", {**summary, "kept": summary["kept"] + 1})
    assert failures(judge(made, "crop")) == {("summary.json", "said"): ["kept"]}
    (made / "crop/summary.json").unlink()
    assert failures(judge(made, "crop"))[("summary.json", "said")][:1] == ["kept"]
