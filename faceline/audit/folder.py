"""Reading the picture that a row of a hostile table names: from one folder, and from nowhere else."""

import os
import stat
from pathlib import Path, PurePath

from faceline.errors import PictureError

LARGEST = 2**26  # bytes of a picture's file


def read_picture(folder: Path, name: str, *, follow_links: bool = False) -> bytes:
    """The bytes of a picture in `folder`.

    Args:
        folder: as `Path.resolve` gives it.
        name: the picture's path below it.
        follow_links: whether symbolic links may lead outside.

    Raises:
        PictureError: `outside_folder`, `missing_file`, `unreadable_file`, `not_a_file` or `too_many_bytes`.
    """
    if not name:
        raise PictureError("missing_file", "no picture is named")
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts:
        raise PictureError("outside_folder", "an absolute path, or one with '..'; allowed: a path inside the folder")
    try:
        real = (folder / path).resolve(strict=True)
        if not follow_links and not real.is_relative_to(folder):
            raise PictureError("outside_folder", "a symbolic link leads outside the folder")
        return _bytes(real)
    except FileNotFoundError:
        raise PictureError("missing_file", "there is no such file") from None
    except (OSError, RuntimeError, ValueError) as error:  # the last two: links in a circle, a NUL in the name
        detail = error.strerror if isinstance(error, OSError) else "no path that a file can have"
        raise PictureError("unreadable_file", detail or "it cannot be opened") from None


def _bytes(path: Path) -> bytes:
    """A plain file's bytes; a pipe would be waited for, and a device never ends."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise PictureError("not_a_file", "a folder, pipe or device; allowed: a plain file")
        if found.st_size > LARGEST:
            raise PictureError("too_many_bytes", f"{found.st_size} bytes, more than {LARGEST}")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(LARGEST)
    finally:
        os.close(descriptor)
