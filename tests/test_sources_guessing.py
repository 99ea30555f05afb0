"""Which reader understands a dataset, told from what it holds; and one clear line where none does."""

import gzip
import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceline.datasets.ingestion import READERS
from faceline.datasets.sources.guessing import KINDS, source_of
from faceline.errors import SettingsError, SourceError

PIXELS_HEADER = "age,ethnicity,gender,img_name,pixels\n"


def tar(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as packed:
        for name in names:
            packed.addfile(tarfile.TarInfo(name), io.BytesIO())
    return path


def test_every_reader_can_be_chosen() -> None:
    assert KINDS.keys() == READERS.keys()


def test_an_archive_is_told_by_its_members(tmp_path: Path) -> None:
    faces = tar(
        tmp_path / "faces",
        "UTKFace/._x.mat",
        "UTKFace/notes.txt",
        "UTKFace/39_1_2017.jpg",
        "UTKFace/39_1_0_20170101000000000.jpg",
    )
    wiki = tar(tmp_path / "wiki", "wiki_crop/17/10000217_1981-05-05_2009.jpg", "wiki_crop/wiki.mat")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "1_0_4_20170101000000000.jpg.chip.jpg").write_bytes(b"")
    for path, reader in ((faces, "utkface"), (wiki, "imdb_wiki"), (folder, "utkface")):
        where, source = source_of(path)
        assert (source.reader, where / source.file) == (reader, path)


def test_a_table_is_told_by_its_columns(tmp_path: Path) -> None:
    pixels, manifest, parquet = (tmp_path / name for name in ("pixels.csv", "manifest.csv", "manifest.parquet"))
    pixels.write_text(PIXELS_HEADER)
    manifest.write_text("\ufeffpath,age,gender,more\n")
    pq.write_table(pa.table({"path": ["a.jpg"], "age": [1], "gender": [0]}), parquet)
    (tmp_path / "deep/pictures").mkdir(parents=True)
    assert source_of(pixels)[1].reader == "pixels_csv"
    for table in (manifest, parquet):
        where, source = source_of(table, pictures=tmp_path / "deep/pictures")
        assert (source.reader, where / source.file) == ("manifest", table)
        assert where / (source.pictures or "") == tmp_path / "deep/pictures"


def test_what_is_named_is_not_guessed(tmp_path: Path) -> None:
    archive, mat = tar(tmp_path / "imdb.tar", "a.jpg"), tmp_path / "imdb.mat"
    mat.write_bytes(b"")
    assert source_of(archive, reader="utkface")[1].reader == "utkface"
    source = source_of(archive, metadata=mat)[1]
    assert (source.reader, source.metadata) == ("imdb_wiki", "imdb.mat")


def test_links_and_paths_from_here_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work/link").symlink_to(tar(tmp_path / "faces.tar", "1_0_4_20170101000000000.jpg"))
    monkeypatch.chdir(tmp_path / "work")
    for path in ("link", "../faces.tar"):
        where, source = source_of(Path(path))
        assert where / source.file == tmp_path / "faces.tar"


def refusal(path: Path, **given: Path | str) -> str:
    with pytest.raises((SourceError, SettingsError)) as caught:
        source_of(path, **given)  # type: ignore[arg-type]
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is neither an archive nor a table, or is empty"),
        (bytes(10240), "is neither an archive nor a table, or is empty"),  # an empty tar
        (b"\x00\xff\xfe rubbish", "is neither an archive nor a table, or is empty"),
        (b"PAR1 and no more", "is neither an archive nor a table, or is empty"),
        (b"<html>\n", "is a table whose columns no reader knows"),
        (b"path,age\n", "is a table whose columns no reader knows"),
        (b"\x1f\x8b\x08 cut off", "is damaged or cut off"),
        (b"PK\x03\x04 cut off", "is damaged or cut off"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    told = refusal(tmp_path / "file")
    assert message in told
    assert "cut off" in message or all(reader in told for reader in KINDS)


def test_archives_without_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.tar.gz").write_bytes(gzip.compress(tar(tmp_path / "empty.tar").read_bytes()))
    assert refusal(tmp_path / "folder").endswith("folder is empty")
    assert refusal(tmp_path / "empty.tar.gz").endswith("empty.tar.gz is empty")
    assert "holds no picture that a reader knows" in refusal(tar(tmp_path / "texts.tar", "a.txt"))
    assert "holds 2 pictures and no label that a reader knows" in refusal(tar(tmp_path / "plain.tar", "a.jpg", "b.png"))
    assert "member '../1_0_4_20170101000000000.jpg'" in refusal(tar(tmp_path / "x", "../1_0_4_20170101000000000.jpg"))


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    faces, manifest = tar(tmp_path / "faces.tar", "1_0_4_20170101000000000.jpg"), tmp_path / "manifest.csv"
    manifest.write_text("path,age,gender\n")
    assert refusal(tmp_path / "absent").endswith("absent does not exist")
    assert "needs --pictures" in refusal(manifest)
    assert "the reader utkface takes no --pictures" in refusal(faces, pictures=tmp_path)
    assert "the reader utkface takes no --metadata" in refusal(faces, reader="utkface", metadata=manifest)
