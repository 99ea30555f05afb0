"""Ingest: every row of every source in labels or rejected, the same bytes whatever the threads, no name anywhere."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.io import savemat

from faceline.datasets import ingestion
from faceline.datasets.ingestion import IngestSettings, ingest
from faceline.datasets.tables import IMAGES, LABELS, OVERRIDES, REJECTED, THUMBNAIL
from faceline.errors import SettingsError, SourceError
from faceline.files import digest, read_json, read_table
from faceline.params import parse_settings
from stages.ingest import main

UTKFACE = {"reader": "utkface", "file": "u.tar.gz", "prefix": "u"}
WIKI = {"reader": "imdb_wiki", "file": "w.zip", "prefix": "w"}
PERSON = "Wilhelmina Zykofsky"


def picture(seed: int, size: tuple[int, int] = (24, 32), kind: str = "JPEG", **options: Any) -> bytes:
    """Noise of (width, height), another one for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind, **options)
    return buffer.getvalue()


def settings(**more: Any) -> IngestSettings:
    values = {"sources": [UTKFACE], "max_pixels": 10_000, "min_side": 16, "salt": "salt", "licence": "none", **more}
    return parse_settings(IngestSettings, values, "datasets.x.ingest")


def utkface(folder: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(folder / "u.tar.gz", "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def wiki(folder: Path, pictures: list[bytes]) -> None:
    """A zip as WIKI, one row a picture, all of one person."""
    rows = len(pictures)
    fields: dict[str, Any] = {name: np.empty((1, rows), dtype=object) for name in ("full_path", "name")}
    fields["full_path"][0, :] = [f"0{row}/7_1981-05-05_{2000 + row}.jpg" for row in range(rows)]
    fields["name"][0, :] = [PERSON] * rows
    fields["dob"] = np.full((1, rows), 723671, np.int32)
    fields["photo_taken"] = np.arange(2000, 2000 + rows, dtype=np.uint16)[None]
    fields["gender"] = np.zeros((1, rows))
    fields["face_score"] = np.full((1, rows), 2.0)
    fields["second_face_score"] = np.full((1, rows), np.nan)
    metadata = io.BytesIO()
    savemat(metadata, {"wiki": fields})
    with zipfile.ZipFile(folder / "w.zip", "w") as packed:
        for path, data in zip(fields["full_path"][0], pictures, strict=True):
            packed.writestr(f"wiki_crop/{path}", data)
        packed.writestr("wiki_crop/wiki.mat", metadata.getvalue())


def run(folder: Path, setting: IngestSettings, name: str = "out", workers: int = 2) -> Path:
    output = folder / name
    output.mkdir()
    ingest(folder, setting, output, workers)
    return output


def rejected(output: Path) -> dict[str, str]:
    table = read_table(output / "rejected.parquet")
    assert table.schema == REJECTED
    return dict(zip(table.column("path").to_pylist(), table.column("reason").to_pylist(), strict=True))


def test_every_row_ends_in_labels_or_rejected_with_its_reason(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    same = picture(1)
    files = {
        "1_0_0_20170101000000001.jpg": same,
        "2_1_4_20170101000000002.jpg": same,
        "3_0_0_20170101000000003.jpg": picture(3, (40, 20), exif=turned),
        "4_0_20170101000000004.jpg": picture(4),
        "5_0_0_20170101000000005.jpg": b"",
        "6_0_0_20170101000000006.jpg": b"<html>",
        "7_0_0_20170101000000007.jpg": picture(7)[:300],
        "8_0_0_20170101000000008.jpg": picture(8, (1, 1)),
        "9_0_0_20170101000000009.jpg": picture(9, (101, 100)),
    }
    utkface(tmp_path, files)
    output = run(tmp_path, settings())
    assert rejected(output) == {
        "u/4_0_20170101000000004.jpg": "malformed_name",
        "u/5_0_0_20170101000000005.jpg": "empty_file",
        "u/6_0_0_20170101000000006.jpg": "not_a_picture",
        "u/7_0_0_20170101000000007.jpg": "truncated_picture",
        "u/8_0_0_20170101000000008.jpg": "too_small",
        "u/9_0_0_20170101000000009.jpg": "too_many_pixels",
    }
    labels = read_table(output / "labels.parquet")
    assert labels.schema == LABELS
    assert labels.column("path").to_pylist() == [f"u/{name}" for name in list(files)[:3]]
    assert labels.column("age").to_pylist() == [1, 2, 3]
    assert labels.column("width").to_pylist() == [24, 24, 20]  # the last one is turned by its EXIF
    assert labels.column("height").to_pylist() == [32, 32, 40]
    assert len(labels.column("thumbnail")[0].as_py()) == THUMBNAIL**2
    images = read_table(output / "images" / "part-00000.parquet")
    assert images.schema == IMAGES
    assert images.column("bytes").to_pylist() == [same, files["3_0_0_20170101000000003.jpg"]]
    assert images.column("image_id").to_pylist() == labels.column("image_id").unique().to_pylist()
    summary = read_json(output / "summary.json")
    assert summary["rows_in"] == len(files) == summary["kept"] + sum(summary["rejected"].values())
    assert summary["images"] == 2


def test_perceptual_hashes_tell_alike_from_different(tmp_path: Path) -> None:
    files = {}
    for number, (seed, quality) in enumerate([(1, 95), (1, 40), (2, 95)]):
        blots = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6), dtype=np.uint8))
        buffer = io.BytesIO()
        blots.resize((64, 64), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=quality)
        files[f"{number}_0_0_20170101000000001.jpg"] = buffer.getvalue()
    utkface(tmp_path, files)
    first, again, other = read_table(run(tmp_path, settings()) / "labels.parquet").column("phash").to_pylist()
    assert (first ^ again).bit_count() <= 8
    assert (first ^ other).bit_count() > 16


def test_two_sources_make_one_dataset(tmp_path: Path) -> None:
    utkface(tmp_path, {"1_0_3_20170101000000001.jpg": picture(1)})
    wiki(tmp_path, [picture(1), picture(2)])
    output = run(tmp_path, settings(sources=[UTKFACE, WIKI]))
    labels = read_table(output / "labels.parquet").to_pylist()
    assert [row["gender"] for row in labels] == [0, 1, 1]
    assert [row["race"] for row in labels] == [3, None, None]
    assert labels[1]["subject"] == labels[2]["subject"] is not None
    assert labels[0]["image_id"] == labels[1]["image_id"]
    summary = read_json(output / "summary.json")
    assert [source["kept"] for source in summary["sources"]] == [1, 2]
    assert summary["sources"][1]["lacks"] == ["race"]
    assert "subject" in summary["sources"][0]["lacks"]
    assert summary["lacks"] == []


def test_no_name_of_a_person_is_in_any_output(tmp_path: Path) -> None:
    wiki(tmp_path, [picture(1), b"", picture(2)])
    (tmp_path / "m.csv").write_text(f"path,age,gender,subject,name\n00/7_1981-05-05_2000.jpg,x,0,{PERSON},{PERSON}\n")
    manifest = {"reader": "manifest", "file": "m.csv", "pictures": "w.zip", "prefix": "m"}
    output = run(tmp_path, settings(sources=[WIKI, manifest]))
    written = [file for file in output.rglob("*") if file.is_file()]
    tables = [read_table(file).to_pylist() for file in written if file.suffix == ".parquet"]
    texts = [file.read_bytes() for file in written] + [str(tables).encode()]
    assert len(written) == 5
    for word in PERSON.split():
        assert not any(word.lower().encode() in text.lower() for text in texts)


@pytest.mark.parametrize("workers", [1, 4])
def test_the_bytes_do_not_depend_on_the_threads(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion, "PART_ROWS", 7)
    monkeypatch.setattr(ingestion, "BLOCK_ROWS", 16)
    files = {f"{n}_0_0_20170101000000001.jpg": picture(n, (20 + n, 20 + n)) if n % 9 else b"" for n in range(60)}
    utkface(tmp_path, files)
    output = run(tmp_path, settings(), "several", workers)
    assert len(list((output / "images").iterdir())) == 8
    assert digest(output) == digest(run(tmp_path, settings(), "two", 2))
    assert read_table(output / "labels.parquet").column("age").to_pylist() == [n for n in range(60) if n % 9]


def test_parts_are_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion, "PART_BYTES", 1)
    utkface(tmp_path, {f"{n}_0_0_20170101000000001.jpg": picture(n) for n in range(3)})
    assert len(list((run(tmp_path, settings()) / "images").iterdir())) == 3


def test_extra_labels_fill_what_the_source_lacks(tmp_path: Path) -> None:
    wiki(tmp_path, [picture(1), picture(2)])
    rows = ["w/00/7_1981-05-05_2000.jpg,asian,99", "w/gone.jpg,1,1"]
    (tmp_path / "extra.csv").write_text("\n".join(["path,race,age", *rows]))
    output = run(tmp_path, settings(sources=[WIKI], extra_labels="extra.csv"))
    labels = read_table(output / "labels.parquet").to_pylist()
    assert [(row["race"], row["age"]) for row in labels] == [(2, 19), (None, 20)]  # the source's own age stays
    summary = read_json(output / "summary.json")
    assert summary["unknown_paths"] == {"extra_labels": 1, "overrides": 0}
    assert summary["lacks"] == []


def test_a_subject_of_the_extra_labels_is_that_of_the_sources_own_manifest(tmp_path: Path) -> None:
    utkface(tmp_path, {f"{name}.jpg": picture(number) for number, name in enumerate("ab")})
    wiki(tmp_path, [picture(2)])
    (tmp_path / "m.csv").write_text("path,age,gender,subject\na.jpg,30,1,Eve\nb.jpg,31,1,\n")
    (tmp_path / "n.csv").write_text("path,age,gender\n00/7_1981-05-05_2000.jpg,19,1\n")
    (tmp_path / "extra.csv").write_text("path,subject\nm/b.jpg,Eve\nn/00/7_1981-05-05_2000.jpg,Eve\n")
    sources = [
        {"reader": "manifest", "file": "m.csv", "pictures": "u.tar.gz", "prefix": "m"},
        {"reader": "manifest", "file": "n.csv", "pictures": "w.zip", "prefix": "n"},
    ]
    output = run(tmp_path, settings(sources=sources, extra_labels="extra.csv"))
    own, extra, other = read_table(output / "labels.parquet").column("subject").to_pylist()
    assert own == extra is not None
    assert other not in (own, None)  # the same name in another source is another person


@pytest.mark.parametrize("columns", ["path,race", "path,subject"])
def test_extra_labels_of_no_path_stop_before_any_work(columns: str, tmp_path: Path) -> None:
    utkface(tmp_path, {"1_0_0_20170101000000001.jpg": picture(1)})
    (tmp_path / "extra.csv").write_text(f"{columns}\n,1\n")
    with pytest.raises(SourceError, match=r"extra\.csv, row 1: no path"):
        run(tmp_path, settings(extra_labels="extra.csv"))


def test_overrides_are_checked_and_written(tmp_path: Path) -> None:
    utkface(tmp_path, {"1_0_0_20170101000000001.jpg": picture(1)})
    empty = read_table(run(tmp_path, settings(), "without") / "overrides.parquet")
    assert (empty.schema, len(empty)) == (OVERRIDES, 0)
    rows = ["u/1_0_0_20170101000000001.jpg,set,,female,a woman", "u/gone.jpg,reject,,,no face"]
    (tmp_path / "o.csv").write_text("\n".join(["path,action,age,gender,note", *rows]))
    output = run(tmp_path, settings(overrides="o.csv"))
    assert read_table(output / "overrides.parquet").schema == OVERRIDES
    first, second = read_table(output / "overrides.parquet").to_pylist()
    assert first == {
        "path": "u/1_0_0_20170101000000001.jpg", "action": "set", "age": None, "gender": 1, "race": None,
        "note": "a woman",
    }  # fmt: skip
    assert second["action"] == "reject"
    assert read_json(output / "summary.json")["unknown_paths"]["overrides"] == 1


@pytest.mark.parametrize(
    "text, message",
    [
        ("path,action\nx,drop\n", "row 1: action 'drop'; allowed: reject, set"),
        ("path,action\nx,set\n", "row 1: nothing to set"),
        ("path,action,gender\nx,set,7\n", "row 1: gender '7' is not allowed; allowed: 0 to 1 or male, female"),
        ("path,action\nx,reject\nx,reject\n", "row 2: path 'x' stands in row 1 already"),
        ("path,action\n,reject\n", "row 1: no path"),
        ("path,note\nx,y\n", "no column action"),
    ],
)
def test_wrong_overrides_stop_before_any_work(text: str, message: str, tmp_path: Path) -> None:
    utkface(tmp_path, {"1_0_0_20170101000000001.jpg": picture(1)})
    (tmp_path / "o.csv").write_text(text)
    with pytest.raises(SourceError) as caught:
        run(tmp_path, settings(overrides="o.csv"))
    assert message in caught.value.message
    assert not (tmp_path / "out" / "images").exists()


def test_a_missing_file_of_any_source_stops_before_any_work(tmp_path: Path) -> None:
    utkface(tmp_path, {"1_0_0_20170101000000001.jpg": picture(1)})
    with pytest.raises(SourceError, match=r"w\.zip is missing; put it there"):
        run(tmp_path, settings(sources=[UTKFACE, WIKI]))
    assert not (tmp_path / "out" / "images").exists()


@pytest.mark.parametrize(
    "values, message",
    [
        ({"sources": []}, "sources"),
        ({"sources": [UTKFACE, UTKFACE]}, "each source must have a prefix of its own"),
        ({"max_pixels": 10**9}, "max_pixels = 1000000000"),
        ({"min_side": 0}, "min_side = 0"),
        ({"salt": ""}, "salt = ''"),
        ({"colour": 1}, "colour is not a setting"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(**values)


PARAMS = """
dataset: tiny
recipe: none
recipes: {none: {}}
datasets:
  tiny:
    ingest:
      sources: [{reader: utkface, file: u.tar.gz, prefix: u}]
      max_pixels: 10000
      min_side: 16
      salt: salt
      licence: none
"""


def stage(folder: Path, monkeypatch: pytest.MonkeyPatch, **more: str) -> Any:
    """The stage run in `folder`, with `more` under ingest."""
    (folder / "params.yaml").write_text(PARAMS + "".join(f"      {name}: {value}\n" for name, value in more.items()))
    monkeypatch.chdir(folder)
    return CliRunner().invoke(main, ["--raw", ".", "--output", "data/ingest"])


def test_the_stage_writes_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    utkface(tmp_path, {"1_0_0_20170101000000001.jpg": picture(1), "2_0_0_20170101000000001.jpg": b""})
    result = stage(tmp_path, monkeypatch)
    assert result.exit_code == 0, result.output
    assert "2 rows, 1 kept; rejected: empty_file 1" in result.output
    names = sorted(file.name for file in (tmp_path / "data" / "ingest").iterdir())
    assert names == ["images", "labels.parquet", "overrides.parquet", "rejected.parquet", "summary.json"]


def test_the_stage_tells_of_paths_that_no_row_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    utkface(tmp_path, {"1_0_0_20170101000000001.jpg": picture(1), "2_0_0_20170101000000001.jpg": b""})
    rows = "\n".join(f"{path},reject" for path in ("u/gone.jpg", "2_0_0.jpg", "u/2_0_0_20170101000000001.jpg"))
    (tmp_path / "o.csv").write_text(f"path,action\n{rows}\n")
    (tmp_path / "extra.csv").write_text("path,race\nu/1_0_0_20170101000000001.jpg,1\n")
    assert "no row has" not in stage(tmp_path, monkeypatch, extra_labels="extra.csv").output
    result = stage(tmp_path, monkeypatch, overrides="o.csv", extra_labels="extra.csv")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0] == "o.csv: paths that no row has: 2, as '2_0_0.jpg'"
    (tmp_path / "extra.csv").write_text("path,race\n1.jpg,1\n")
    result = stage(tmp_path, monkeypatch, extra_labels="extra.csv")
    assert result.output.splitlines()[0] == "extra.csv: paths that no row has: 1, as '1.jpg'"


def test_the_stage_tells_of_rejected_rows_where_nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, named, twice = (f"{age}_0_0_20170101000000001.jpg" for age in (1, 2, 3))
    bad = ("4_0_20170101000000001.jpg", "5_0_20170101000000001.jpg")
    with tarfile.open(tmp_path / "u.tar.gz", "w:gz") as tar:
        for number, name in enumerate((kept, named, twice, twice, *bad)):
            member = tarfile.TarInfo(name)
            data = b"" if name == named else picture(number)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    rows = [f"u/{name},set,9" for name in (kept, twice, bad[0])]  # the first of the two that are named twice is kept
    rows += [f"u/{bad[1]},reject,", "u/gone.jpg,set,9"]
    (tmp_path / "o.csv").write_text("\n".join(["path,action,age", *rows]))
    (tmp_path / "extra.csv").write_text("path,race\n" + "".join(f"u/{name},1\n" for name in (kept, named, *bad)))
    result = stage(tmp_path, monkeypatch, overrides="o.csv", extra_labels="extra.csv")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[:3] == [
        f"extra.csv: paths of rows that were rejected, where nothing is set: 3, as 'u/{named}'",
        "o.csv: paths that no row has: 1, as 'u/gone.jpg'",
        f"o.csv: paths of rows that were rejected, where nothing is set: 1, as 'u/{bad[0]}'",
    ]
    assert read_json(tmp_path / "data/ingest/summary.json")["unknown_paths"] == {"extra_labels": 0, "overrides": 1}


def test_a_hostile_archive_ends_in_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    utkface(tmp_path, {"1_0_0_20170101000000001.jpg": picture(1), "../2_0_0_20170101000000001.jpg": picture(2)})
    result = stage(tmp_path, monkeypatch)
    assert result.exit_code == 2
    (line,) = result.output.strip().splitlines()
    assert line.startswith("Error: u.tar.gz: member '../2_0_0_20170101000000001.jpg' has a name that is not allowed")
    assert not list((tmp_path / "data").iterdir())
