"""Packing files into archives whose bytes depend on the files alone: no dates, no users, a fixed order."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

Members = Iterable[tuple[str, bytes]]  # name in the archive, content

FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that zip can hold
UNIX = 3  # the system on which a zip says that it was made
MODE = 0o644


def write_tar(path: Path, members: Members) -> None:
    """Write a tar, or a tar.gz where `path` says so."""
    with path.open("wb") as file:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                _fill_tar(packed, members)
        else:
            _fill_tar(file, members)


def write_zip(path: Path, members: Members) -> None:
    """Write a zip; pictures are compressed already, so its members are only stored."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, FIRST_DATE)
            info.create_system, info.external_attr = UNIX, MODE << 16
            archive.writestr(info, content)


def _fill_tar(file: io.IOBase, members: Members) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)  # date, user and group are 0
            info.size, info.mode = len(content), MODE
            archive.addfile(info, io.BytesIO(content))
