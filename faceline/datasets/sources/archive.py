"""The one door to archives: a folder, tar, tar.gz or zip as a stream of members, never unpacked to disk.

Archives are hostile until proven otherwise. Names that point outside, links, devices, too many members and sizes no
honest archive has end in a `SourceError`; a single member that is too large is refused when it is read.
"""

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Self
from unicodedata import category

from faceline.errors import PictureError, SourceError

MAX_MEMBERS = 5_000_000
MAX_MEMBER = 2**26  # bytes; of a picture
MAX_HEADER = 2**16  # bytes; of a long name or an extended header of a tar
MAX_RATIO = 100  # an archive that expands to more than this times its size is a bomb; pictures hardly shrink
ALWAYS_ALLOWED = 2**30  # bytes that any archive may expand to, however small it is

ZIP_UTF_8 = 0x800  # the flag of a member of a zip whose name is UTF-8

SPARSE = "a sparse file; only plain files are read"

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError, RuntimeError, ValueError)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive. `fetch` gives its bytes, once, before the next member is asked for."""

    name: str  # its path inside the archive, with forward slashes
    size: int  # bytes, as declared
    fetch: Callable[[], bytes]

    def read(self, limit: int = MAX_MEMBER) -> bytes:
        """The member's bytes.

        Raises:
            PictureError: `too_many_bytes`, before anything is read.
            SourceError: the archive is damaged here.
        """
        if self.size > limit:
            raise PictureError("too_many_bytes", f"{self.size} bytes, more than {limit}")
        return self.fetch()


def members(path: Path) -> Iterator[Member]:
    """The regular files in the archive or folder `path`: an archive's in its order, a folder's sorted by name.

    Raises:
        SourceError: it is of no known kind, damaged, cut off, or hostile; the message names the member.
    """
    with _damage_named(path):
        for count, member in enumerate(_opened(path), start=1):
            if count > MAX_MEMBERS:
                raise SourceError(f"{path} has more than {MAX_MEMBERS} members")
            yield member


def is_archive(path: Path) -> bool:
    """Whether `path` is a folder, or begins as an archive that can be read.

    Raises:
        SourceError: it cannot be opened.
    """
    with _damage_named(path):
        return _kind(path) is not None


def fits_on_a_line(name: str) -> bool:
    """Whether a name holds no control or format character, no end of a line and nothing that Unicode does not assign.

    Spaces of any kind are part of names: macOS puts a narrow no-break one into those of its screenshots, and
    `str.isprintable` would refuse it.
    """
    return all(character.isprintable() or category(character) == "Zs" for character in name)


def _opened(path: Path) -> Iterator[Member]:
    kind = _kind(path)
    if kind is None:
        raise SourceError(f"{path} is not an archive that can be read; allowed: a folder, .tar, .tar.gz, .zip")
    return kind(path)


def _kind(path: Path) -> Callable[[Path], Iterator[Member]] | None:
    """What opens the archive, chosen by how it begins."""
    if path.is_dir():
        return _folder
    with path.open("rb") as file:
        start = file.read(262)
    if start.startswith(b"\x1f\x8b"):
        return _tar_gz
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        return _zip
    return _tar if start[257:262] == b"ustar" else None


def _folder(root: Path, inside: str = "") -> Iterator[Member]:
    for entry in sorted((root / inside).iterdir(), key=lambda item: item.name):
        name = _checked(root, f"{inside}{entry.name}")
        if entry.is_symlink():
            raise _special(root, name)
        if entry.is_dir():
            yield from _folder(root, f"{name}/")
        elif entry.is_file():
            yield Member(name, entry.stat().st_size, partial(_read_file, root, entry))
        else:
            raise _special(root, name)


def _zip(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()[::-1]
        _check_total(path, sum(info.file_size for info in infos), _allowed(path))
        archive.filelist.clear()  # zipfile holds 0.7 KB a member; what is done with is let go
        archive.NameToInfo.clear()
        while infos:
            info = infos.pop()
            name = _checked(path, _zipped_name(info))
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _special(path, name)
            if info.flag_bits & 1:
                raise SourceError(f"{path}: member {name!r} is encrypted")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others inflate without a bound
                found = f"{path}: member {name!r} is packed by method {info.compress_type}"
                raise SourceError(f"{found}; allowed: deflate, or not at all")
            if not info.is_dir():
                yield Member(name, info.file_size, partial(_read_zipped, path, archive, info))


def _zipped_name(info: zipfile.ZipInfo) -> str:
    """A member's name. macOS writes UTF-8 without the flag that says so, which zipfile reads as code page 437."""
    if info.flag_bits & ZIP_UTF_8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _tar(path: Path) -> Iterator[Member]:
    with _Tar.open(path, "r:") as archive:
        yield from _tar_members(path, archive)


def _tar_gz(path: Path) -> Iterator[Member]:
    with gzip.open(path) as stream, _Tar.open(fileobj=stream, mode="r|") as archive:
        yield from _tar_members(path, archive)


def _tar_members(path: Path, archive: "_Tar") -> Iterator[Member]:
    allowed = _allowed(path)
    while (info := archive.next()) is not None:
        archive.members.clear()
        archive.pax_headers.clear()
        name = _checked(path, info.name)
        if info.size < 0:
            raise SourceError(f"{path}: member {name!r} has a negative size")
        _check_total(path, info.offset_data + info.size, allowed)
        if info.isdir():
            continue
        if not info.isreg() or info.issparse():
            raise _special(path, name)
        yield Member(name, info.size, partial(_read_tarred, path, archive, info))


class _Header(tarfile.TarInfo):
    """A header of a tar, refused where tarfile would stop in silence or believe any size."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("it ends without the mark that ends an archive")
        if not any(buf):  # the end, which tarfile learns from an EOFHeaderError
            return super().frombuf(buf, encoding, errors)
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None
        if info.type not in (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE) and info.size > MAX_HEADER:
            raise tarfile.ReadError(f"a header of {info.size} bytes")  # tarfile would read it into memory
        if info.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(SPARSE)
        return info

    def _proc_gnusparse_10(self, *_: object) -> None:
        raise tarfile.ReadError(SPARSE)  # tarfile would read the map of its holes into memory, however long it is


class _Tar(tarfile.TarFile):
    """A tar read once from front to back."""

    tarinfo = _Header
    # tarfile remembers every member, and what global headers said; uncleared, they would outgrow the labels.
    members: list[tarfile.TarInfo]
    pax_headers: dict[str, str]


def _read_file(root: Path, file: Path) -> bytes:
    with _damage_named(root):
        return file.read_bytes()


def _read_zipped(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    # Told how much to read, zipfile inflates no more than that, whatever the member holds.
    with _damage_named(path), archive.open(info) as file:
        return file.read(info.file_size)


def _read_tarred(path: Path, archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    with _damage_named(path):
        file = archive.extractfile(info)
        return file.read() if file else b""


def _checked(path: Path, name: str) -> str:
    """The member's name without a leading `./`; refused where it points outside or cannot be shown on a line."""
    parts = PurePosixPath(name).parts
    if not name or name.startswith("/") or ".." in parts or "\\" in name or not fits_on_a_line(name):
        raise SourceError(
            f"{path}: member {name!r} has a name that is not allowed: "
            "it must be a relative path, not empty, without '..', backslashes and unprintable characters"
        )
    return "/".join(parts)


def _allowed(path: Path) -> int:
    """The bytes that an archive of this size may expand to."""
    return max(ALWAYS_ALLOWED, MAX_RATIO * path.stat().st_size)


def _check_total(path: Path, expanded: int, allowed: int) -> None:
    """Refuse an archive that expands to far more than a collection of pictures can."""
    if expanded > allowed:
        raise SourceError(f"{path} expands to {expanded} bytes or more; allowed for its size: {allowed}")


def _special(path: Path, name: str) -> SourceError:
    return SourceError(f"{path}: member {name!r} is a link, a device or a sparse file; only plain files are read")


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn what the libraries raise on a damaged archive into a SourceError that names it."""
    try:
        yield
    except _DAMAGE as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"{path} is damaged or cut off: {what}") from None
