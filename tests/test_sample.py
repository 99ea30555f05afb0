"""The synthetic sample: who is on it, which faults it has, and that its bytes depend on the settings alone."""

import csv
import io
import os
import tarfile
import zipfile
from collections import Counter
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.io import loadmat

from faceline.datasets.labels import Gender, Race
from faceline.datasets.sample.encoding import FORMS
from faceline.datasets.sample.faults import FAULTS, faulty
from faceline.datasets.sample.layouts import write_sample
from faceline.datasets.sample.person import grow
from faceline.datasets.sample.picture import Shot, Sitter, take
from faceline.datasets.sample.population import age_at, ordinary, person
from faceline.datasets.sample.rendering import encode, encode_all
from faceline.datasets.sample.settings import SampleSettings
from faceline.errors import PictureError, SettingsError
from faceline.faces.decoding import decode
from faceline.files import digest
from faceline.params import parse_settings
from stages.sample import main

SMALL = SampleSettings(seed=7, faces=40, size=64)
FULL = SampleSettings(seed=7, faces=1000, size=128)
DECODING = {"max_pixels": 1_000_000, "min_side": 16}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "sample"
    write_sample(SMALL, "imdb_wiki", folder, workers=1)
    return folder


@pytest.fixture(scope="module")
def wiki(sample: Path) -> dict[str, np.ndarray]:
    """The fields of wiki.mat, each of shape (1, rows)."""
    with tarfile.open(sample / "wiki_crop.tar") as archive:
        file = archive.extractfile("wiki_crop/wiki.mat")
        assert file
        struct = loadmat(io.BytesIO(file.read()))["wiki"]
    assert struct.shape == (1, 1)
    return {name: struct[name][0, 0] for name in struct.dtype.names}


@pytest.fixture(scope="module")
def pictures(sample: Path) -> dict[str, bytes]:
    """The bytes of each picture by its path in wiki.mat."""
    with tarfile.open(sample / "wiki_crop.tar") as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.name.endswith(".jpg")}
        return {name.removeprefix("wiki_crop/"): file.read() for name, file in files.items() if file}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- the layout of WIKI


def test_wiki_mat_has_the_types_of_the_real_one(wiki: dict[str, np.ndarray]) -> None:
    assert {name: field.dtype.name for name, field in wiki.items()} == {
        "dob": "int32",
        "photo_taken": "uint16",
        "full_path": "object",
        "gender": "float64",
        "name": "object",
        "face_location": "object",
        "face_score": "float64",
        "second_face_score": "float64",
    }
    assert len({field.shape for field in wiki.values()}) == 1
    assert wiki["full_path"][0, 0].shape == (1,)
    assert wiki["face_location"][0, 0].shape == (1, 4)
    assert any(cell.size == 0 for cell in wiki["name"][0])
    assert np.isneginf(wiki["face_score"]).sum() == 2
    assert (wiki["dob"] <= 366).sum() == 2


def test_wiki_mat_has_no_date_in_its_header(sample: Path) -> None:
    with tarfile.open(sample / "wiki_crop.tar") as archive:
        file = archive.extractfile("wiki_crop/wiki.mat")
        assert file
        assert file.read(116) == b"MATLAB 5.0 MAT-file, synthetic sample of faceline".ljust(116)


def test_members_are_named_as_in_wiki(sample: Path, wiki: dict[str, np.ndarray]) -> None:
    paths = {str(cell[0]) for cell in wiki["full_path"][0]}
    with tarfile.open(sample / "wiki_crop.tar") as archive:
        members = archive.getmembers()
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}
    missing = {row.path for row in faulty(SMALL) if row.fault == "missing_file"}
    assert {member.name for member in members} == {f"wiki_crop/{path}" for path in paths - missing} | {
        "wiki_crop/wiki.mat"
    }


def test_labels_in_the_mat_are_those_of_the_rows(wiki: dict[str, np.ndarray]) -> None:
    number = {str(cell[0]): index for index, cell in enumerate(wiki["full_path"][0])}
    for row in ordinary(SMALL):
        index = number[row.path]
        born = date.fromordinal(int(wiki["dob"][0, index]) - 366)
        assert born == row.born
        assert age_at(born, int(wiki["photo_taken"][0, index])) == row.age
        assert wiki["gender"][0, index] == (1 if row.gender is Gender.MALE else 0)


# --- the people


def test_ordinary_people_are_of_all_ages_genders_and_races() -> None:
    rows = ordinary(FULL)
    assert len(rows) == len({row.path for row in rows}) == FULL.faces
    ages = np.array([row.age for row in rows])
    assert ages.min() == 9
    assert ages.max() == 99
    assert np.histogram(ages, [9, 30, 50, 70, 100])[0].min() > 150
    assert min(Counter(row.gender for row in rows).values()) > 450
    assert set(races := Counter(row.race for row in rows)) == set(Race)
    assert min(races.values()) > 150
    assert all(row.face_score > 1 and np.isnan(row.second_face_score) for row in rows)


def test_a_subject_has_several_pictures_at_several_ages() -> None:
    rows = ordinary(FULL)
    subjects = Counter(row.page_id for row in rows)
    assert Counter(subjects.values()).keys() == {1, 2, 3}
    several = [[row for row in rows if row.page_id == page] for page, count in subjects.items() if count > 1]
    for pictures_of_one in several:
        assert len({row.shot for row in pictures_of_one}) == len(pictures_of_one)
        assert len({(row.name, row.born, row.shot.sitters[0].identity) for row in pictures_of_one}) == 1
        assert all(row.shot.sitters[0].age == row.age for row in pictures_of_one)


def test_a_person_grows_older_and_stays_the_same() -> None:
    ages = [grow((7, 1), age, Gender.MALE, Race.WHITE) for age in (20, 45, 70)]
    assert len({tuple(one.eyes.iris) for one in ages}) == 1
    assert all(young.skin.wrinkles < old.skin.wrinkles for young, old in pairwise(ages))
    assert np.ptp([one.eyes.offset for one in ages]) == 0


# --- the faults


def test_there_is_a_known_number_of_each_fault(sample: Path) -> None:
    rows_a_case = {"copied": 2, "copied_contradicting": 2, "near_copied": 2, "near_copied_contradicting": 2}
    expected = {fault.name: 2 * rows_a_case.get(fault.name, 1) for fault in FAULTS}
    assert Counter(row["fault"] for row in read(sample / "truth.csv")) == expected
    assert Counter(row.fault for row in faulty(FULL))["no_face_scored"] == 30
    assert all(fault.cases(1000) >= 3 for fault in FAULTS)


def test_truth_says_where_and_why_each_faulty_row_ends(sample: Path) -> None:
    ends = {(row["stage"], row["reason"]) for row in read(sample / "truth.csv")}
    reasons = {
        "ingest": ["invalid_dob", "missing_file", "empty_file", "truncated_picture", "not_a_picture", "too_small"],
        "clean": [
            *("no_face_score", "second_face", "low_face_score", "gender_unknown", "taken_before_birth"),
            *("age_above_maximum", "age_below_minimum", "duplicate", "contradicting_duplicate", "overridden"),
        ],
        "crop": ["no_face", "several_faces", "blurred"],
        "": [""],
    }
    assert ends == {(stage, reason) for stage, group in reasons.items() for reason in group}


def test_every_rule_catches_only_its_own_fault() -> None:
    allowed = {
        "too_old": lambda row: 100 < row.age < 200,
        "too_young": lambda row: 1 <= row.age < 9,
        "taken_before_birth": lambda row: row.age < 0,
        "low_score": lambda row: 0 < row.face_score < 1,
        "no_face_scored": lambda row: np.isneginf(row.face_score),
        "second_face_scored": lambda row: row.second_face_score > 1,
        "gender_unknown": lambda row: row.gender is None,
    }
    for row in faulty(FULL):
        broken = {name for name, rule in allowed.items() if row.born and rule(row)}
        if row.override is None:
            assert broken == {row.fault} & set(allowed), row


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("empty_file", "empty_file"),
        ("truncated_jpeg", "truncated_picture"),
        ("html", "not_a_picture"),
        ("one_pixel", "too_small"),
    ],
)
def test_broken_files_are_broken_in_their_own_way(fault: str, reason: str, pictures: dict[str, bytes]) -> None:
    for row in faulty(SMALL):
        if row.fault == fault:
            with pytest.raises(PictureError) as caught:
                decode(pictures[row.path], **DECODING)
            assert caught.value.reason == reason


def test_odd_but_right_files_show_the_same_picture() -> None:
    image = take(person(1, (30, 40), FULL).shot)
    pixels = np.asarray(image).astype(float)
    grey = np.repeat(np.asarray(image.convert("L"))[..., None], 3, axis=2).astype(float)
    for form, original in {"turned": pixels, "cmyk": pixels, "reencoded": pixels, "grey": grey, "deep": grey}.items():
        decoded = decode(FORMS[form](image), **DECODING)
        assert decoded.shape == pixels.shape
        assert np.abs(decoded - original).mean() < 8, form
    modes = {form: Image.open(io.BytesIO(FORMS[form](image))).mode for form in ("grey", "cmyk", "deep")}
    assert modes == {"grey": "L", "cmyk": "CMYK", "deep": "I;16"}
    assert Image.open(io.BytesIO(FORMS["turned"](image))).getexif()[0x0112] == 6


def test_copies_have_the_same_bytes_and_the_labels_that_they_should(pictures: dict[str, bytes]) -> None:
    rows = [row for row in faulty(SMALL) if "copied" in row.fault]
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert first.path < second.path
        assert (pictures[first.path] == pictures[second.path]) == (not first.fault.startswith("near"))
        assert (first.age == second.age) == (not first.fault.endswith("contradicting"))
        assert (first.gender, first.race) == (second.gender, second.race)
    assert [row.reason for row in rows if row.fault == "copied"] == ["", "duplicate"] * 2


def test_overrides_reject_or_mend(sample: Path) -> None:
    overrides = {row["path"]: row for row in read(sample / "overrides.csv")}
    assert Counter(row["action"] for row in overrides.values()) == {"reject": 2, "set": 2}
    for row in faulty(SMALL):
        if row.fault == "override_set":
            override = overrides[f"wiki/{row.path}"]
            (sitter,) = row.shot.sitters
            mended = (int(override["age"] or row.age), int(override["gender"] or row.gender or 0))
            assert mended == (sitter.age, sitter.gender)
            assert (row.age, row.gender) != mended


def test_every_usable_row_has_a_race_label(sample: Path) -> None:
    labels = {row["path"]: int(row["race"]) for row in read(sample / "labels.csv")}
    rows = [row for row in ordinary(SMALL) + faulty(SMALL) if row.stage != "ingest"]
    assert labels == {f"wiki/{row.path}": row.race for row in rows}


# --- the same input, the same bytes


def test_bytes_do_not_depend_on_the_run_or_the_number_of_workers(sample: Path, tmp_path: Path) -> None:
    write_sample(SMALL, "imdb_wiki", tmp_path / "again", workers=2)
    assert digest(tmp_path / "again") == digest(sample)


def test_there_is_a_process_for_each_core_that_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr("faceline.datasets.sample.rendering.ProcessPoolExecutor", None)  # one process needs no pool
    assert len(list(encode_all(ordinary(SMALL)[:1]))) == 1


def test_another_seed_gives_other_people() -> None:
    other = SMALL.model_copy(update={"seed": 8})
    assert encode(person(1, (30, 40), SMALL)) != encode(person(1, (30, 40), other))


def test_a_shot_of_nobody_or_two_has_its_own_size() -> None:
    sitter = Sitter((1, 2), 30, Gender.FEMALE, Race.INDIAN)
    alone = Shot((1, 2, 3), 64, (sitter,))
    assert take(alone).size == take(replace(alone, sitters=())).size == (64, 64)
    assert take(replace(alone, sitters=(sitter, sitter))).size == (128, 64)


# --- the other layouts


def test_utkface_names_carry_the_labels(tmp_path: Path) -> None:
    rows = write_sample(SMALL, "utkface", tmp_path / "out", workers=1)
    with tarfile.open(tmp_path / "out" / "UTKFace.tar.gz") as archive:
        names = archive.getnames()
        file = archive.extractfile(names[-1])
        assert file
        assert decode(file.read(), **DECODING).shape == (64, 64, 3)
    assert len(names) == len(set(names)) == rows == 42
    fields = [name.removeprefix("UTKFace/").split("_") for name in names]
    assert [len(field) for field in fields].count(3) == 2
    assert min(int(field[0]) for field in fields) < 9
    assert all(name.endswith("jpg.chip.jpg") for name in names)


def test_pixels_csv_holds_48_by_48_grey_levels(tmp_path: Path) -> None:
    write_sample(SMALL, "pixels_csv", tmp_path / "out", workers=1)
    rows = read(tmp_path / "out" / "age_gender.csv")
    assert list(rows[0]) == ["age", "ethnicity", "gender", "img_name", "pixels"]
    for row in rows:
        levels = np.array(row["pixels"].split(), int)
        assert levels.shape == (48 * 48,)
        assert levels.min() >= 0
        assert 255 >= levels.max() > levels.min()


def test_manifest_names_the_pictures_of_its_zip(tmp_path: Path) -> None:
    write_sample(SMALL, "manifest", tmp_path / "out", workers=1)
    rows = read(tmp_path / "out" / "manifest.csv")
    with zipfile.ZipFile(tmp_path / "out" / "pictures.zip") as archive:
        assert sorted(archive.namelist()) == sorted(row["path"] for row in rows)
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert len({row["subject"] for row in rows}) < len(rows)
    assert {row["gender"] for row in rows} == {"0", "1"}


@pytest.mark.parametrize("layout", ["utkface", "manifest"])
def test_archives_of_other_layouts_are_the_same_bytes_again(layout: str, tmp_path: Path) -> None:
    tiny = SampleSettings(seed=7, faces=20, size=48)
    for name in ("first", "second"):
        write_sample(tiny, layout, tmp_path / name, workers=1)
    assert digest(tmp_path / "first") == digest(tmp_path / "second")


# --- settings and stage


@pytest.mark.parametrize(
    ("key", "value"), [("faces", 10), ("faces", "many"), ("size", 16), ("seed", -1), ("fases", 1000)]
)
def test_bad_settings_are_refused_by_name(key: str, value: Any) -> None:
    values = {**SMALL.model_dump(), key: value}
    with pytest.raises(SettingsError, match=rf"sample\.{key}"):
        parse_settings(SampleSettings, values, "sample")


def test_the_stage_writes_the_layout_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text("sample: {seed: 7, faces: 20, size: 48}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["--layout", "manifest", "--output", "out"])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in Path("out").iterdir()) == ["manifest.csv", "pictures.zip"]


@pytest.mark.slow
def test_mtcnn_finds_the_one_face_of_ordinary_pictures() -> None:
    from faceline.faces.detection import DetectSettings
    from faceline.faces.detector import Detector

    pixels = [decode(encode(row), **DECODING) for row in ordinary(FULL)[:60]]
    found = Detector(DetectSettings(enabled=True)).detect(pixels)
    assert sum(len([face for face in faces if face.score >= 0.9]) == 1 for faces in found) >= 57
