"""Writing and fingerprinting files so that a killed run leaves nothing that looks finished.

Everything is written under a temporary name beside its place and renamed when it is whole; the bytes of a
JSON file or a Parquet table depend on their content alone (sorted keys, fixed row groups, no dates).
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from faceline.errors import BusyError, FacelineError

PARTIAL = ".partial"  # the ending of a name that is not finished yet
ROW_GROUP = 100_000  # rows; fixed, because it shapes the bytes of a table


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, remove it if not.

    Its name is the process's own: two runs may write one file of the store at the same time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; it takes `path`'s place if the block succeeds.

    Its name is always the same, so that what a killed run has left there goes.

    Raises:
        BusyError: another process writes it.
        FacelineError: `path` is what no folder can take the place of.
    """
    if path.is_symlink() or path.is_mount() or (path.exists() and not path.is_dir()):
        raise FacelineError(f"{path} is a link, a mount or a file, whose place no folder can take; choose another")
    partial = path.with_name(path.name + PARTIAL)
    busy = BusyError(f"another process writes {path}; wait for it, or choose another folder")
    partial.mkdir(parents=True, exist_ok=True)
    try:
        lock = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:  # it has taken its place in the meantime
        raise busy from None
    try:
        if not _locked(lock, partial):
            raise busy
        for leftover in partial.iterdir():
            shutil.rmtree(leftover, ignore_errors=True)
            leftover.unlink(missing_ok=True)
        try:
            yield partial
            shutil.rmtree(path, ignore_errors=True)
            partial.replace(path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def _locked(lock: int, folder: Path) -> bool:
    """Lock an open folder until it is closed or the process killed; False if another process has it, or had it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(lock), folder.stat())  # else it has taken its place in the meantime
    except (BlockingIOError, FileNotFoundError):
        return False


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON: sorted keys, indented by two, a newline at the end; NaN and infinity raise ValueError."""
    with atomic_file(path) as partial:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def write_table(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    """Write `table` as Parquet, cast to `schema`: columns, their order and their types are exactly the schema's."""
    with atomic_file(path) as partial:
        pq.write_table(table.select(schema.names).cast(schema), partial, compression="zstd", row_group_size=ROW_GROUP)


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file, or just some columns of it."""
    return pq.ParquetFile(path).read(columns=columns)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(path: Path) -> str:
    """SHA-256 over a file, or over the names and contents of all files below a folder, sorted by name."""
    if path.is_file():
        return sha256_file(path)
    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return total.hexdigest()
