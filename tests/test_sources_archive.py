"""Archives: the same members through every kind, and each hostile one refused in one line."""

import gzip
import io
import os
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from faceline.datasets.sources import archive
from faceline.datasets.sources.archive import members
from faceline.errors import PictureError, SourceError

FILES = {"a/one.jpg": b"1" * 512, "a/two.jpg": b"", "b.txt": b"3" * 700}


def tar_of(path: Path, *infos: tarfile.TarInfo, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for info in infos:
            tar.addfile(info, io.BytesIO(b"x" * info.size) if info.isreg() else None)
    return path


def info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname = size, kind, link
    return made


def make_folder(root: Path) -> Path:
    for name, data in FILES.items():
        (root / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "folder" / name).write_bytes(data)
    return root / "folder"


def make_tar(root: Path) -> Path:
    with tarfile.open(root / "x.tar", "w") as tar:
        tar.add(make_folder(root), ".")
    return root / "x.tar"


def make_tar_gz(root: Path) -> Path:
    (root / "x.tgz").write_bytes(gzip.compress(make_tar(root).read_bytes()))
    return root / "x.tgz"


def make_zip(root: Path) -> Path:
    with zipfile.ZipFile(root / "x.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a/", b"")
        for name, data in FILES.items():
            packed.writestr(name, data)
    return root / "x.zip"


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        for member in members(path):
            member.read()
    assert path.name in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("make", [make_folder, make_tar, make_tar_gz, make_zip])
def test_every_kind_gives_the_same_files(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    assert {member.name: member.read() for member in members(path)} == FILES
    assert {member.name: member.size for member in members(path)} == {name: len(data) for name, data in FILES.items()}


def test_a_symbolic_link_to_an_archive_is_followed(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    link = tmp_path / "raw" / "x.tar"
    link.symlink_to(make_tar(tmp_path))
    assert len(list(members(link))) == len(FILES)


def test_a_folder_is_read_sorted(tmp_path: Path) -> None:
    for name in ("c.jpg", "a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    assert [member.name for member in members(tmp_path)] == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg", "a\\..\\x.jpg", "a\nb.jpg"])
def test_names_that_point_outside_are_refused(name: str, tmp_path: Path) -> None:
    assert "not allowed" in refusal(tar_of(tmp_path / "x.tar", info(name)))
    assert "not allowed" in refusal(tar_of(tmp_path / "x.tar.gz", info(name), mode="w:gz"))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr(name, b"x")
    assert "not allowed" in refusal(tmp_path / "x.zip")


@pytest.mark.parametrize("space", ["\u00a0", "\u202f", "\u3000"])
def test_a_name_may_hold_a_space_of_any_kind(space: str, tmp_path: Path) -> None:
    name = f"Screenshot at 3.04.05{space}PM.png"
    assert [member.name for member in members(tar_of(tmp_path / "x.tar", info(name)))] == [name]


@pytest.mark.parametrize("character", ["\t", "\u200f", "\u2028", "\u2029", "\udcff", "\ue000", "\u0378"])
def test_a_name_with_what_does_not_show_is_refused(character: str, tmp_path: Path) -> None:
    assert "not allowed" in refusal(tar_of(tmp_path / "x.tar", info(f"a{character}b.jpg")))


def zip_without_flags(path: Path, *names: bytes) -> Path:
    """A zip of empty members with these bytes as names, and nothing that says how they are encoded."""
    stand_ins = [f"{number}".ljust(len(name), "x") for number, name in enumerate(names)]
    with zipfile.ZipFile(path, "w") as packed:
        for stand_in in stand_ins:
            packed.writestr(stand_in, b"")
    data = path.read_bytes()
    for stand_in, name in zip(stand_ins, names, strict=True):
        data = data.replace(stand_in.encode(), name)
    path.write_bytes(data)
    return path


def test_names_that_macos_packs_as_utf_8_without_saying_so_are_read_as_such(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "Fotos/Jörg é.jpg")
    path = zip_without_flags(tmp_path / "x.zip", name.encode())
    assert {member.name: member.read() for member in members(path)} == {name: b""}


def test_names_in_the_old_code_page_of_zips_are_read_still(tmp_path: Path) -> None:
    path = zip_without_flags(tmp_path / "x.zip", "Jörg.jpg".encode("cp437"), b"plain.jpg")
    assert [member.name for member in members(path)] == ["Jörg.jpg", "plain.jpg"]


def test_a_name_that_does_not_show_once_it_is_decoded_is_refused(tmp_path: Path) -> None:
    assert "not allowed" in refusal(zip_without_flags(tmp_path / "x.zip", "é\u2028.jpg".encode()))


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"b.txt", b"\0.txt"))
    assert "member '' has a name that is not allowed" in refusal(path)
    assert "member '' has a name that is not allowed" in refusal(tar_of(tmp_path / "x.tar", info("")))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", info("ok.jpg", 9), info("bad.jpg", kind=kind, link="/etc/passwd"))
    assert "'bad.jpg' is a link" in refusal(path)


def test_links_in_a_zip_or_folder_are_refused(tmp_path: Path) -> None:
    linked = zipfile.ZipInfo("bad.jpg")
    linked.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr(linked, "/etc/passwd")
    assert "'bad.jpg' is a link" in refusal(tmp_path / "x.zip")
    folder = make_folder(tmp_path)
    (folder / "bad.jpg").symlink_to("/etc/passwd")
    assert "'bad.jpg' is a link" in refusal(folder)
    (folder / "bad.jpg").unlink()
    os.mkfifo(folder / "bad.jpg")
    assert "'bad.jpg' is a link" in refusal(folder)


@pytest.mark.parametrize("make", [make_tar, make_tar_gz, make_zip])
def test_an_archive_cut_off_anywhere_is_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    whole = path.read_bytes()
    end = len(make_tar(tmp_path).read_bytes().rstrip(b"\0")) if path.suffix == ".tar" else len(whole)
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(end * share)])
        assert "damaged or cut off" in refusal(path)


def test_a_tar_cut_off_between_two_members_is_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", info("a.jpg", 512), info("b.jpg", 512))
    path.write_bytes(path.read_bytes()[:1024])
    assert "without the mark" in refusal(path)


def test_a_damaged_header_is_refused_not_taken_for_the_end(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", info("a.jpg", 512), info("b.jpg", 512))
    data = bytearray(path.read_bytes())
    data[1024 + 150] ^= 1  # the checksum of the second header
    path.write_bytes(data)
    assert "damaged" in refusal(path)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"<html>" * 100)
    assert "allowed: a folder, .tar, .tar.gz, .zip" in refusal(tmp_path / "x.tar")
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"no tar" * 1000))
    assert "damaged" in refusal(tmp_path / "x.gz")


def bomb(path: Path, count: int) -> int:
    """Write a .tar.gz or .zip of `count` members, 2 MiB in all that shrink to next to nothing; what it expands to."""
    names, size = [f"{number}.jpg" for number in range(count)], 2**21 // count
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in names:
                packed.writestr(name, bytes(size))
        return 2**21
    tar_of(path, *(info(name, size) for name in names), mode="w:gz")
    return 2**21 + 512 * count  # the headers count too


@pytest.mark.parametrize("count", [1, 64])  # of 2 MiB, or of 32 KiB, none of which is too much
@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_an_archive_that_expands_too_far_is_refused(
    kind: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "ALWAYS_ALLOWED", 2**16)
    path = tmp_path / f"bomb.{kind}"
    bomb(path, count)
    assert "expands to" in refusal(path)


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_an_archive_may_expand_to_a_hundred_times_its_size(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "ALWAYS_ALLOWED", 2**16)
    path = tmp_path / f"bomb.{kind}"
    size = -(-bomb(path, 64) // 100)  # the smallest that may expand so far
    packed = path.read_bytes()
    path.write_bytes(packed.ljust(size, b"\0"))  # zeros at the end are nothing, in both
    assert len(list(members(path))) == 64
    path.write_bytes(packed.ljust(size - 1, b"\0"))
    assert f"allowed for its size: {100 * (size - 1)}" in refusal(path)


def test_a_small_archive_may_expand_to_a_gibibyte(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    for more in (0, 1):
        with zipfile.ZipFile(path, "w") as packed:
            for name in ("a.jpg", "b.jpg"):
                packed.writestr(name, b"x")
                packed.filelist[-1].file_size = 2**29  # as its directory, written at the end, declares
            packed.filelist[-1].file_size += more
        if not more:
            assert sum(member.size for member in members(path)) == 2**30
    assert f"expands to {2**30 + 1} bytes or more; allowed for its size: {2**30}" in refusal(path)


def test_a_large_member_is_not_read(tmp_path: Path) -> None:
    (member,) = members(tar_of(tmp_path / "x.tar", info("big.jpg", 100)))
    with pytest.raises(PictureError) as caught:
        member.read(limit=99)
    assert caught.value.reason == "too_many_bytes"


def test_a_picture_may_have_64_mebibytes() -> None:
    assert archive.Member("a.jpg", 2**26, lambda: b"read").read() == b"read"
    with pytest.raises(PictureError, match=f"{2**26 + 1} bytes, more than {2**26}"):
        archive.Member("a.jpg", 2**26 + 1, lambda: b"read").read()


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    assert "more than 2 members" in refusal(make_tar(tmp_path))


def test_a_giant_extended_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", info("n" * 2**17, 1))
    assert "a header of" in refusal(path)


def test_a_negative_size_is_refused(tmp_path: Path) -> None:
    bad = info("x.jpg")
    bad.pax_headers = {"size": "-1024"}
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(bad)
    assert "negative size" in refusal(tmp_path / "x.tar")


def test_a_zip_inflates_to_no_more_than_it_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.jpg", bytes(2**24))
    data = bytearray(path.read_bytes())
    position = data.find(b"PK\1\2")
    data[position + 24 : position + 28] = (100).to_bytes(4, "little")  # the size in the central directory
    path.write_bytes(data)
    inflated: list[int] = []
    read = zipfile.ZipExtFile._read1
    monkeypatch.setattr(zipfile.ZipExtFile, "_read1", lambda self, n: inflated.append(n) or read(self, n))
    assert "damaged" in refusal(path)  # its checksum is that of the whole
    assert max(inflated) <= 100


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_otherwise_than_by_deflate_is_refused(method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as packed:
        packed.writestr("a.jpg", bytes(100))
    assert "allowed: deflate, or not at all" in refusal(tmp_path / "x.zip")


def test_what_global_headers_say_does_not_pile_up(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    headers = (tarfile.TarInfo.create_pax_global_header({f"key{number}": "x" * 2**15}) for number in range(20))
    path.write_bytes(b"".join(header + info("a.jpg").tobuf() for header in headers) + bytes(1024))
    with archive._Tar.open(path, "r:") as opened:
        kept = [len(opened.pax_headers) for _ in archive._tar_members(path, opened)]
    assert kept == [0] * 20


def test_sparse_files_are_refused_before_their_holes_are_read(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "old.tar", info("a.jpg", 512, kind=tarfile.GNUTYPE_SPARSE))
    path.write_bytes(path.read_bytes()[:512])  # nothing follows the header
    assert "a sparse file; only plain files are read" in refusal(path)
    new = info("b.jpg", 512)
    new.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "b.jpg"}
    with tarfile.open(tmp_path / "new.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(new, io.BytesIO(b"99999999999\n" + b"0\n" * 250))
    assert "a sparse file; only plain files are read" in refusal(tmp_path / "new.tar")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path)
    data = bytearray(path.read_bytes())
    position = data.find(b"PK\1\2")
    data[position + 8] |= 1  # the flag in the central directory
    path.write_bytes(data)
    assert "encrypted" in refusal(path)
