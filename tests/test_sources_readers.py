"""Each reader on a tiny archive: labels in the project's codes, and every row a sample or a rejection with a reason."""

import io
import tarfile
import unicodedata
import zipfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from faceline.datasets.ingestion import READERS
from faceline.datasets.labels import Gender, Race
from faceline.datasets.sources import archive
from faceline.datasets.sources.imdb_wiki import age_on_first_of_july, birth_date
from faceline.datasets.sources.source import Item, Labels, Rejection, Sample, SourceSettings, raw_file
from faceline.datasets.sources.utkface import parse_name
from faceline.errors import SettingsError, SourceError
from faceline.faces.decoding import decode
from faceline.params import parse_settings

ROW = {
    "dob": 723671,  # 5 May 1981
    "photo_taken": 2009,
    "full_path": "17/10000217_1981-05-05_2009.jpg",
    "gender": 1.0,
    "name": "Ada Somebody",
    "face_score": 4.5,
    "second_face_score": np.nan,
}
DTYPES = {"dob": np.int32, "photo_taken": np.uint16}


def source(reader: str, file: str, **more: str) -> SourceSettings:
    return parse_settings(SourceSettings, {"reader": reader, "file": file, "prefix": "p", **more}, "sources.0")


def items(folder: Path, setting: SourceSettings, salt: str = "salt") -> dict[str, Item]:
    """The items by their path; no path may come twice but for duplicates, which get an exclamation mark."""
    found: dict[str, Item] = {}
    for item in READERS[setting.reader].read(setting, folder, salt).items:
        found[f"{item.path}!" if item.path in found else item.path] = item
    return found


def reason(item: Item) -> str:
    assert isinstance(item, Rejection), item
    assert item.detail
    return item.reason


def labels(item: Item) -> Labels:
    assert isinstance(item, Sample), item
    return item.labels


def refusal(folder: Path, setting: SourceSettings) -> str:
    with pytest.raises(SourceError) as caught:
        items(folder, setting)
    assert "\n" not in caught.value.message
    return caught.value.message


def mat_of(rows: list[dict[str, Any]], struct: str = "wiki") -> bytes:
    fields = {}
    for name in rows[0]:
        if name in ("full_path", "name"):
            fields[name] = np.empty((1, len(rows)), dtype=object)
            fields[name][0, :] = [row[name] for row in rows]
        else:
            fields[name] = np.array([[row[name] for row in rows]], DTYPES.get(name, np.float64))
    buffer = io.BytesIO()
    savemat(buffer, {struct: fields})
    return buffer.getvalue()


def tar(path: Path, files: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as packed:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))


def wiki(folder: Path, *rows: dict[str, Any], missing: tuple[str, ...] = (), **more: bytes) -> SourceSettings:
    """An archive of WIKI with the given changes to ROW, one a row, and their pictures."""
    full = [{**ROW, **row} for row in rows]
    files = {f"wiki_crop/{row['full_path']}": b"picture" for row in full if row["full_path"] not in missing}
    tar(folder / "wiki.tar", {**files, **more, "wiki_crop/wiki.mat": mat_of(full)})
    return source("imdb_wiki", "wiki.tar")


def test_a_hidden_file_is_not_the_metadata(tmp_path: Path) -> None:
    assert len(items(tmp_path, wiki(tmp_path, {}, **{"wiki_crop/._wiki.mat": b"of macOS"}))) == 1


def test_imdb_wiki_turns_a_row_into_the_projects_codes(tmp_path: Path) -> None:
    found = items(tmp_path, wiki(tmp_path, {}))
    ada = labels(found["p/17/10000217_1981-05-05_2009.jpg"])
    assert ada.subject is not None and len(ada.subject) == 32
    assert ada == Labels(
        age=28, gender=Gender.MALE, race=None, subject=ada.subject, dob=date(1981, 5, 5), photo_taken=2009,
        face_score=4.5, second_face_score=None,
    )  # fmt: skip


def test_imdb_wiki_knows_the_odd_values(tmp_path: Path) -> None:
    rows = [
        {"full_path": "f.jpg", "gender": 0.0},
        {"full_path": "u.jpg", "gender": np.nan},
        {"full_path": "n.jpg", "face_score": -np.inf},
        {"full_path": "s.jpg", "second_face_score": 2.5},
        {"full_path": "b.jpg", "photo_taken": 1950},
        {"full_path": "z.jpg", "dob": 366},
        {"full_path": "y.jpg", "photo_taken": 0},
        {"full_path": "g.jpg", "gender": 2.0},
        {"full_path": "far.jpg", "dob": 2**31 - 1},
    ]
    found = items(tmp_path, wiki(tmp_path, *rows))
    assert labels(found["p/f.jpg"]).gender == Gender.FEMALE
    assert labels(found["p/u.jpg"]).gender is None
    assert labels(found["p/n.jpg"]).face_score == -np.inf
    assert labels(found["p/s.jpg"]).second_face_score == 2.5
    assert labels(found["p/b.jpg"]).age == -31  # unsigned years would wrap
    assert reason(found["p/z.jpg"]) == "invalid_dob"
    assert reason(found["p/far.jpg"]) == "invalid_dob"
    assert reason(found["p/y.jpg"]) == "invalid_photo_taken"
    assert reason(found["p/g.jpg"]) == "malformed_label"


def test_imdb_wiki_loses_no_row_and_no_picture(tmp_path: Path) -> None:
    rows = [{"full_path": path} for path in ("a.jpg", "b.jpg", "a.jpg", "gone.jpg", "")]
    found = items(tmp_path, wiki(tmp_path, *rows, missing=("gone.jpg", ""), **{"wiki_crop/stray.jpg": b"picture"}))
    assert {path: item.reason for path, item in found.items() if isinstance(item, Rejection)} == {
        "p/a.jpg": "duplicate_path",
        "p/#5": "missing_file",
        "p/gone.jpg": "missing_file",
        "p/stray.jpg": "no_label_row",
    }
    assert [path for path, item in found.items() if isinstance(item, Sample)] == ["p/a.jpg!", "p/b.jpg"]


def test_a_subject_is_a_name_and_a_page_hashed_with_the_salt(tmp_path: Path) -> None:
    people = [("1_a.jpg", "Ada"), ("1_b.jpg", "Ada"), ("2_a.jpg", "Ada"), ("1_c.jpg", "Bob")]
    setting = wiki(tmp_path, *({"full_path": path, "name": name} for path, name in people))
    codes = [labels(item).subject for item in items(tmp_path, setting).values()]
    assert codes[0] == codes[1]
    assert len(set(codes)) == 3
    assert not set(codes) & {labels(item).subject for item in items(tmp_path, setting, "other salt").values()}


def test_imdb_knows_its_subjects_by_number(tmp_path: Path) -> None:
    rows = [{**ROW, "full_path": f"{n}.jpg", "celeb_id": celeb} for n, celeb in enumerate((7, 7, 8, np.nan))]
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "imdb.mat").write_bytes(mat_of(rows, "imdb"))
    tar(tmp_path / "imdb.tar.gz", {f"imdb_crop/{n}.jpg": b"picture" for n in range(4)})
    found = items(tmp_path, source("imdb_wiki", "imdb.tar.gz", metadata="meta/imdb.mat"))
    first, second, third, fourth = (labels(found[f"p/{n}.jpg"]).subject for n in range(4))
    assert first == second != third
    assert fourth is None


def test_imdb_wiki_names_what_is_missing(tmp_path: Path) -> None:
    assert "wiki.tar is missing" in refusal(tmp_path, source("imdb_wiki", "wiki.tar"))
    tar(tmp_path / "wiki.tar", {"x.jpg": b"picture"})
    assert "holds no .mat" in refusal(tmp_path, source("imdb_wiki", "wiki.tar"))
    for field in ("dob", "full_path", "gender", "name", "second_face_score"):
        lacking = {name: value for name, value in ROW.items() if name != field}
        tar(tmp_path / "wiki.tar", {"wiki.mat": mat_of([lacking])})
        assert f"no field '{field}'" in refusal(tmp_path, source("imdb_wiki", "wiki.tar"))
    tar(tmp_path / "wiki.tar", {"wiki.mat": mat_of([ROW], "faces")})
    assert "no struct named imdb or wiki" in refusal(tmp_path, source("imdb_wiki", "wiki.tar"))
    tar(tmp_path / "wiki.tar", {"wiki.mat": b"<html>not found</html>" * 20})
    assert "not a little-endian .mat" in refusal(tmp_path, source("imdb_wiki", "wiki.tar"))


def test_the_age_is_taken_on_the_first_of_july() -> None:
    assert age_on_first_of_july(date(1980, 7, 1), 2000) == 20
    assert age_on_first_of_july(date(1980, 7, 2), 2000) == 19
    assert birth_date(367) == date(1, 1, 1)
    assert birth_date(723671) == date(1981, 5, 5)
    assert birth_date(float("nan")) is None


@pytest.mark.parametrize(
    "name",
    [
        "25_1_3_20170116174525125.jpg.chip.jpg",
        "25_1_3_20170116174525125.jpg",
        "25_1_3_2017011022340900.jpg.chip.jpg",
        "25_1_3_201701161846515488.jpg",
        "25_1_3_20170116220224657 .jpg.chip.jpg",
        "25_1_3_20170116232725357jpg.chip.jpg",
    ],
)
def test_utkface_names_are_read_leniently(name: str) -> None:
    assert parse_name(name) == Labels(age=25, gender=Gender.FEMALE, race=Race.INDIAN)


@pytest.mark.parametrize(
    "name, detail",
    [
        ("39_1_20170116174525125.jpg.chip.jpg", "a field is missing"),
        ("old_1_2_20170116174525125.jpg", "not a number"),
        ("117_1_2_20170116174525125.jpg", "age 117; allowed: 0 to 116"),
        ("25_2_2_20170116174525125.jpg", "gender 2; allowed: 0 to 1"),
        ("25_1_5_20170116174525125.jpg", "race 5; allowed: 0 to 4"),
        ("-5_1_2_20170116174525125.jpg", "not a number"),
    ],
)
def test_utkface_names_that_cannot_be_read_say_why(name: str, detail: str) -> None:
    parsed = parse_name(name)
    assert isinstance(parsed, tuple)
    assert parsed[0] == "malformed_name"
    assert detail in parsed[1]


def test_utkface_counts_odd_names_and_other_files(tmp_path: Path) -> None:
    names = [
        "1_0_0_20170116174525125.jpg",
        "2_0_0_2017011617452512.jpg",
        "3_0_20170116174525125.jpg",
        "README",
        "._4.jpg",
    ]
    with zipfile.ZipFile(tmp_path / "u.zip", "w") as packed:
        for name in names:
            packed.writestr(f"UTKFace/{name}", b"picture")
    reading = READERS["utkface"].read(source("utkface", "u.zip"), tmp_path, "salt")
    found = list(reading.items)
    assert [type(item) for item in found] == [Sample, Sample, Rejection]
    assert found[0].path == f"p/UTKFace/{names[0]}"
    assert reading.notes == {"odd_names": 1, "other_files": 2}


def csv(folder: Path, *rows: str, header: str = "age,ethnicity,gender,img_name,pixels") -> SourceSettings:
    (folder / "faces.csv").write_text("\n".join([header, *rows]) + "\n")
    return source("pixels_csv", "faces.csv")


def test_pixels_become_a_lossless_picture(tmp_path: Path) -> None:
    found = items(tmp_path, csv(tmp_path, "25,2,1,a.jpg,0 60 120 255"))
    item = found["p/a.jpg"]
    assert labels(item) == Labels(age=25, gender=Gender.FEMALE, race=Race.ASIAN)
    assert isinstance(item, Sample)
    assert decode(item.data, max_pixels=100)[..., 0].tolist() == [[0, 60], [120, 255]]


def test_pixels_csv_rejects_rows_by_reason(tmp_path: Path) -> None:
    rows = [
        "25,2,1,good.jpg,0 1 2 3",
        "25,2,1,few.jpg,0 1 2",
        "25,2,1,one.jpg,0",
        "25,2,1,none.jpg,",
        "25,2,1,high.jpg,0 1 2 256",
        "25,2,1,text.jpg,0 1 2 x",
        "25,2,1,long.jpg,0 1 2 99999999999999999999",
        "25,9,1,race.jpg,0 1 2 3",
        "25,2,1,good.jpg,3 2 1 0",
        "25,2,1,,0 1 2 3",
        "25,2,1,soft\u00adhyphen.jpg,0 1 2 3",
        "25,2,1,short.jpg",
    ]
    found = items(tmp_path, csv(tmp_path, *rows))
    assert len(found) == len(rows)
    assert isinstance(found.pop("p/good.jpg"), Sample)
    assert {path: reason(item) for path, item in found.items()} == {
        "p/few.jpg": "malformed_pixels",
        "p/one.jpg": "malformed_pixels",
        "p/none.jpg": "malformed_pixels",
        "p/high.jpg": "malformed_pixels",
        "p/text.jpg": "malformed_pixels",
        "p/long.jpg": "malformed_pixels",
        "p/race.jpg": "malformed_label",
        "p/good.jpg!": "duplicate_path",
        "p/''": "malformed_name",
        "p/'soft\\xadhyphen.jpg'": "malformed_name",
        "p/#malformed-1": "malformed_row",
    }


def test_pixels_csv_takes_a_name_with_a_space_of_any_kind(tmp_path: Path) -> None:
    found = items(tmp_path, csv(tmp_path, "25,2,1,at 3.04\u202fPM.png,0 1 2 3"))
    assert isinstance(found["p/at 3.04\u202fPM.png"], Sample)


def test_a_csv_without_the_columns_is_refused(tmp_path: Path) -> None:
    assert "no column pixels" in refusal(tmp_path, csv(tmp_path, "1", header="age,ethnicity,gender,img_name"))
    (tmp_path / "faces.csv").write_bytes(b"")
    assert "faces.csv" in refusal(tmp_path, source("pixels_csv", "faces.csv"))


MANIFEST = {
    "path": ["a.jpg", "b.jpg", "c.jpg", "bad.jpg", "gone.jpg", "a.jpg"],
    "age": ["30", "41.5", None, "x", "5", "30"],
    "gender": ["female", "0", None, "1", "1", "1"],
    "race": ["Black", "4", None, "1", "1", None],
    "subject": ["Eve Somebody", "Eve Somebody", None, "x", "x", None],
    "name": ["Eve Somebody"] * 6,
}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_manifest_labels_the_pictures_of_an_archive(kind: str, tmp_path: Path) -> None:
    table = pa.table(MANIFEST)
    if kind == "csv":
        rows = zip(*MANIFEST.values(), strict=True)
        text = [",".join(MANIFEST), *(",".join(value or "" for value in row) for row in rows)]
        (tmp_path / "m.csv").write_text("\n".join(text))
    else:
        pq.write_table(table, tmp_path / "m.parquet")
    tar(tmp_path / "pictures.tar.gz", {f"top/{name}": b"x" for name in ("a.jpg", "b.jpg", "c.jpg", "bad.jpg", "d.jpg")})
    found = items(tmp_path, source("manifest", f"m.{kind}", pictures="pictures.tar.gz"))
    eve = labels(found["p/a.jpg!"])
    assert (eve.age, eve.gender, eve.race) == (30, Gender.FEMALE, Race.BLACK)
    assert eve.subject == labels(found["p/b.jpg"]).subject
    assert "Eve" not in str(eve.subject)
    assert (labels(found["p/b.jpg"]).age, labels(found["p/b.jpg"]).gender) == (41, Gender.MALE)
    assert labels(found["p/c.jpg"]) == Labels()
    assert reason(found["p/bad.jpg"]) == "malformed_label"
    assert reason(found["p/gone.jpg"]) == "missing_file"
    assert reason(found["p/a.jpg"]) == "duplicate_path"
    assert reason(found["p/d.jpg"]) == "no_label_row"


def manifest(folder: Path, paths: list[str], pictures: list[str]) -> SourceSettings:
    """A manifest of the given paths, and a tar of the given pictures, each with its own name as its bytes."""
    (folder / "m.csv").write_text("\n".join(["path,age,gender", *(f"{path},30,1" for path in paths)]))
    tar(folder / "pictures.tar", {name: name.encode() for name in pictures})
    return source("manifest", "m.csv", pictures="pictures.tar")


@pytest.mark.parametrize(
    "pictures",
    [
        ("_old/a.png", "a.png"),
        ("_old/a.png", "b.png"),  # the decoy of a picture that is not there
        ("_old/a.png", "top/a.png"),
        ("_old/a.png", "top/b.png"),
        ("top/_old/a.png", "top/a.png"),
    ],
)
def test_two_folders_that_fit_a_manifest_are_refused(pictures: tuple[str, str], tmp_path: Path) -> None:
    first, second = pictures
    message = refusal(tmp_path, manifest(tmp_path, ["a.png", "b.png"], [first, "notes.txt", second]))
    assert f"{tmp_path}/pictures.tar: {first!r} and {second!r} both match a path" in message


@pytest.mark.parametrize(
    ("root", "other"), [("", "old/a.png"), ("top/", "top/old/a.png"), ("top/", "top/x/c.png"), ("top/", "c.png")]
)
def test_a_picture_that_no_other_folder_explains_keeps_its_label(root: str, other: str, tmp_path: Path) -> None:
    found = items(tmp_path, manifest(tmp_path, ["a.png", "b.png"], [f"{root}a.png", other, f"{root}b.png"]))
    stray = f"p/{other.removeprefix(root)}"
    assert reason(found.pop(stray)) == "no_label_row"
    assert {path: item.data.decode() for path, item in found.items() if isinstance(item, Sample)} == {
        "p/a.png": f"{root}a.png",
        "p/b.png": f"{root}b.png",
    }
    assert len(found) == 2


def test_paths_of_a_manifest_may_be_spelt_otherwise_than_those_of_the_archive(tmp_path: Path) -> None:
    found = items(tmp_path, manifest(tmp_path, ["./pics/a.png", "pics//b.png", ""], ["pics/a.png", "pics/b.png"]))
    assert labels(found["p/pics/a.png"]).age == labels(found["p/pics/b.png"]).age == 30
    assert reason(found["p/#3"]) == "missing_file"
    assert len(found) == 3


@pytest.mark.parametrize("top", ["", "Sélection/"])
@pytest.mark.parametrize(("row_form", "file_form"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_names_match_whatever_their_unicode_normal_form(
    row_form: Literal["NFC", "NFD"], file_form: Literal["NFC", "NFD"], top: str, tmp_path: Path
) -> None:
    rows = [unicodedata.normalize(row_form, name) for name in ("Zoë/a.png", "Zoë/é.png")]
    files = [unicodedata.normalize(file_form, f"{top}{name}") for name in ("Zoë/a.png", "Zoë/é.png")]
    found = items(tmp_path, manifest(tmp_path, rows, files))
    assert {path: item.data.decode() for path, item in found.items() if isinstance(item, Sample)} == {
        f"p/{row}": file for row, file in zip(rows, files, strict=True)
    }
    assert len(found) == 2


def test_a_name_in_two_normal_forms_is_one_name(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    found = items(tmp_path, manifest(tmp_path, [decomposed, composed], [composed, decomposed]))
    assert labels(found[f"p/{decomposed}"]).age == 30
    assert reason(found[f"p/{composed}"]) == "duplicate_path"  # the later row
    assert reason(found[f"p/{decomposed}!"]) == "duplicate_path"  # the later picture
    assert len(found) == 3


def test_no_row_is_kept_where_rows_of_one_path_contradict(tmp_path: Path) -> None:
    rows = ["b.png,30,1", "b.png,31,1", "a.png,,1", "c.png,30,", "a.png,30,1", "c.png,,1", "a.png,31,1", "gone.png,1,1"]
    rows += ["d.png,30,1", "d.png,x,0", "gone.png,2,1"]
    (tmp_path / "m.csv").write_text("\n".join(["path,age,gender", *rows]))
    tar(tmp_path / "pictures.tar", {f"{name}.png": name.encode() for name in "abcd"})
    setting = source("manifest", "m.csv", pictures="pictures.tar")
    found = list(READERS["manifest"].read(setting, tmp_path, "salt").items)
    told = sorted((item.path, item.reason, item.detail) for item in found if isinstance(item, Rejection))
    a, b, gone = (f"rows {rows} name it and disagree about age" for rows in ("5 and 7", "1 and 2", "8 and 11"))
    assert told == [
        *[("p/a.png", "contradicting_duplicate", a)] * 3,
        *[("p/b.png", "contradicting_duplicate", b)] * 2,
        ("p/c.png", "duplicate_path", "row 6 repeats row 4"),  # what is unknown contradicts nothing
        ("p/d.png", "duplicate_path", "row 10 repeats row 9"),  # nor does what cannot be read
        ("p/gone.png", "contradicting_duplicate", gone),
        ("p/gone.png", "missing_file", "pictures.tar does not hold it"),
    ]
    assert [item.path for item in found if isinstance(item, Sample)] == ["p/c.png", "p/d.png"]


def test_two_subjects_of_one_path_contradict(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,age,gender,subject\na.png,30,1,Eve\na.png,30,1,Ada\n")
    tar(tmp_path / "pictures.tar", {"a.png": b"picture"})
    found = items(tmp_path, source("manifest", "m.csv", pictures="pictures.tar"))
    assert [reason(item) for item in found.values()] == ["contradicting_duplicate"] * 2
    assert "Eve" not in str(found)


def test_imdb_wiki_keeps_no_row_where_rows_of_one_path_contradict(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"full_path": "a.jpg"}, {"full_path": "b.jpg"}, {"full_path": "a.jpg", "gender": 0.0}]
    full = [{**ROW, **row} for row in rows]
    tar(tmp_path / "wiki.tar", {"a.jpg": b"picture", "b.jpg": b"picture", "wiki.mat": mat_of(full)})
    found = items(tmp_path, source("imdb_wiki", "wiki.tar"))
    assert reason(found["p/a.jpg"]) == reason(found["p/a.jpg!"]) == "contradicting_duplicate"
    assert labels(found["p/b.jpg"]).gender == Gender.MALE


def test_a_manifest_without_the_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,gender\na.jpg,1\n")
    (tmp_path / "pictures").mkdir()
    assert "no column age" in refusal(tmp_path, source("manifest", "m.csv", pictures="pictures"))
    (tmp_path / "m.parquet").write_bytes(b"PAR1 and no more")
    assert "cannot be read as a table" in refusal(tmp_path, source("manifest", "m.parquet", pictures="pictures"))


def test_a_row_of_the_wrong_length_is_counted_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,age,gender\na.jpg,1,1\nb.jpg,2,1,Eve: Somebody\n")
    (tmp_path / "pictures").mkdir()
    message = refusal(tmp_path, source("manifest", "m.csv", pictures="pictures"))
    assert message.endswith("m.csv cannot be read as a table: CSV parse error: Expected 3 columns, got 4")


@pytest.mark.parametrize("name", ["linked", "linked/u.tar", "real/linked/u.tar", "linked/gone.tar"])
def test_a_link_to_a_folder_inside_a_dataset_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    tar(tmp_path / "elsewhere/u.tar", {"1_0_0_20170116174525125.jpg": b"picture"})
    folder = tmp_path / "raw"
    (folder / "real").mkdir(parents=True)
    for link in (folder / "linked", folder / "real/linked"):
        link.symlink_to(tmp_path / "elsewhere")
    message = refusal(folder, source("utkface", name))
    assert message.startswith(f"{folder / name.removesuffix('/u.tar').removesuffix('/gone.tar')} is a symbolic link")
    assert message.endswith(f"link {folder} itself instead, or a file")


def test_a_dataset_and_a_file_in_it_may_be_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    tar(tmp_path / "u.tar", {"1_0_0_20170116174525125.jpg": b"picture"})
    (tmp_path / "elsewhere/link.tar").symlink_to(tmp_path / "u.tar")
    (tmp_path / "raw").symlink_to(tmp_path / "elsewhere")
    assert len(items(tmp_path / "raw", source("utkface", "link.tar"))) == 1
    assert raw_file(tmp_path / "raw", ".", "advice") == tmp_path / "raw"


def test_a_picture_that_is_too_large_is_a_rejected_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar(tmp_path / "u.tar", {"1_0_0_20170116174525125.jpg": bytes(100)})
    monkeypatch.setattr(archive.Member.read, "__defaults__", (99,))
    (item,) = items(tmp_path, source("utkface", "u.tar")).values()
    assert reason(item) == "too_many_bytes"


@pytest.mark.parametrize(
    "values, message",
    [
        ({"reader": "imdb"}, "reader = 'imdb'"),
        ({"file": "../x.tar"}, "must be a path inside"),
        ({"file": "/x.tar"}, "must be a path inside"),
        ({"prefix": "a/b"}, "prefix = 'a/b'"),
        ({"pictures": "x.tar"}, "pictures must be given for the reader manifest"),
        ({"reader": "manifest"}, "pictures must be given for the reader manifest"),
        ({"metadata": "x.mat"}, "imdb_wiki only"),
        ({"colour": "red"}, "colour is not a setting"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_settings(SourceSettings, {"reader": "utkface", "file": "x.tar", "prefix": "p", **values}, "sources.0")
