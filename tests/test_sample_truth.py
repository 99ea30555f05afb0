"""What truth.csv says of the sample is what becomes of it; and every layout can be read by its reader."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceline.datasets.cleaning import CleanSettings, apply_overrides, judge_labels, near_identical_contradictions
from faceline.datasets.duplicates import near_identical
from faceline.datasets.ingestion import IngestSettings, ingest
from faceline.datasets.sample.faults import faulty
from faceline.datasets.sample.layouts import write_sample
from faceline.datasets.sample.population import ordinary
from faceline.datasets.sample.rendering import encode
from faceline.datasets.sample.settings import SampleSettings
from faceline.faces.cropping import CropSettings, counted, crop_face
from faceline.faces.decoding import decode
from faceline.faces.detection import DetectSettings
from faceline.faces.detector import Detector
from faceline.faces.quality import fault, measure
from faceline.files import read_table
from faceline.params import PARAMS, read_settings

SMALL = SampleSettings(seed=7, faces=40, size=64)
ROOT = Path(__file__).parent.parent
READING: dict[str, dict[str, Any]] = {
    "imdb_wiki": {"file": "wiki_crop.tar", "prefix": "wiki"},
    "utkface": {"file": "UTKFace.tar.gz", "prefix": "utkface"},
    "pixels_csv": {"file": "age_gender.csv", "prefix": "pixels"},
    "manifest": {"file": "manifest.csv", "pictures": "pictures.zip", "prefix": "own"},
}


def ingested(layout: str, folder: Path, **more: Any) -> tuple[Path, dict[str, Any]]:
    """The sample in that layout, ingested: the folder of the tables, and the summary."""
    write_sample(SMALL, layout, folder / "raw", workers=1)
    settings = read_settings(IngestSettings, "datasets", "sample", "ingest", path=ROOT / PARAMS)
    source = {"reader": layout, **READING[layout]}
    added = {"extra_labels": None, "overrides": None, **more}
    settings = IngestSettings.model_validate({**settings.model_dump(), **added, "sources": [source]})
    (folder / "ingest").mkdir()
    return folder / "ingest", ingest(folder / "raw", settings, folder / "ingest", 1)


def truth(folder: Path, stage: str) -> dict[str, str]:
    """The reason of each row that the stage must reject, by path."""
    with (folder / "raw" / "truth.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file) if row["stage"] == stage}


def test_ingest_and_clean_reject_just_the_faults(tmp_path: Path) -> None:
    tables, _ = ingested("imdb_wiki", tmp_path, extra_labels="labels.csv", overrides="overrides.csv")
    rejected = read_table(tables / "rejected.parquet").to_pylist()
    assert {row["path"]: row["reason"] for row in rejected} == truth(tmp_path, "ingest")

    labels, overrides = (read_table(tables / f"{name}.parquet").to_pandas() for name in ("labels", "overrides"))
    settings = read_settings(CleanSettings, "datasets", "sample", "clean", path=ROOT / PARAMS)
    verdict = judge_labels(apply_overrides(labels, overrides), overrides, settings)
    out = ~verdict.kept
    assert dict(zip(verdict.rows["path"][out], verdict.reason[out], strict=True)) == truth(tmp_path, "clean")
    assert verdict.skipped == {}


def test_only_the_near_copies_are_near_identical(tmp_path: Path) -> None:
    tables, _ = ingested("imdb_wiki", tmp_path)
    rejected = truth(tmp_path, "clean")
    labels = read_table(tables / "labels.parquet").to_pandas()
    kept = labels[~labels["path"].isin(rejected.keys())].reset_index(drop=True)
    settings = read_settings(CleanSettings, "datasets", "sample", "clean", path=ROOT / PARAMS).near_identical
    thumbnails = np.stack([np.frombuffer(data, np.uint8) for data in kept["thumbnail"]])
    pairs = near_identical(kept["phash"].to_numpy(np.uint64), thumbnails, settings)
    copies = [row for row in faulty(SMALL) if row.fault.startswith("near_copied")]
    expected = {(f"wiki/{a.path}", f"wiki/{b.path}") for a, b in zip(copies[::2], copies[1::2], strict=True)}
    found = zip(kept["path"][pairs.first], kept["path"][pairs.second], strict=True)
    assert set(found) == expected
    assert near_identical_contradictions(kept, pairs, settings.age_tolerance).sum() == 2


@pytest.mark.parametrize(("layout", "lost"), [("utkface", 2), ("pixels_csv", 0), ("manifest", 0)])
def test_other_layouts_are_readable(layout: str, lost: int, tmp_path: Path) -> None:
    tables, summary = ingested(layout, tmp_path)
    labels = read_table(tables / "labels.parquet").to_pandas()
    assert summary["rows_in"] == SMALL.faces + 2
    assert len(labels) == summary["rows_in"] - lost
    people = ordinary(SMALL) + [row for row in faulty(SMALL) if row.fault == "too_young"]
    expected = sorted((row.age, int(row.gender or 0), int(row.race)) for row in people)
    there = sorted(zip(labels["age"], labels["gender"], labels["race"], strict=True))
    assert (there == expected) if not lost else (set(there) <= set(expected))


@pytest.mark.slow
def test_detection_and_crop_reject_just_the_faults() -> None:
    settings = SampleSettings(seed=7, faces=100, size=128)
    crop = read_settings(CropSettings, "datasets", "sample", "crop", path=ROOT / PARAMS)
    rows = [row for row in faulty(settings) if row.stage in ("crop", "")]
    pictures = [decode(encode(row), max_pixels=1_000_000) for row in rows]
    for row, picture, found in zip(
        rows, pictures, Detector(DetectSettings(enabled=True)).detect(pictures), strict=True
    ):
        faces = counted(found, crop)
        if len(faces) == 1:
            quality = measure(crop_face(picture, faces[0], crop), min(faces[0].width, faces[0].height))
            wrong = fault(quality, crop.quality)
            assert (wrong[0] if wrong else "") == row.reason, (row.fault, quality)
        else:
            assert ("several_faces" if faces else "no_face") == row.reason, row.fault
