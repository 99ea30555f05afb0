"""What a source is, and what every reader makes of it: a stream of pictures with labels, and of rejected rows.

A reader is a function `read(source, folder, salt) -> Reading`. It opens and checks what it can at once, so that a
missing file or field stops before any work; the pictures are streamed later, when the items are asked for.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Protocol, Self

from pydantic import AfterValidator, Field, model_validator

from faceline.errors import SourceError
from faceline.params import Settings


def _inside(name: str) -> str:
    """`name`, if it stays inside the dataset's folder."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a path inside the dataset's folder in data/raw")
    return name


RawFile = Annotated[str, AfterValidator(_inside)]


class SourceSettings(Settings):
    """One source of a dataset; its files lie in the dataset's folder in data/raw."""

    reader: Literal["imdb_wiki", "utkface", "pixels_csv", "manifest"]
    file: RawFile  # the archive or folder; for pixels_csv and manifest the table
    prefix: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")  # rows are called <prefix>/<path in the source>
    pictures: RawFile | None = None  # manifest only: the archive or folder that its paths point into
    metadata: RawFile | None = None  # imdb_wiki only: a .mat that lies outside the archive

    @model_validator(mode="after")
    def _only_where_used(self) -> Self:
        if (self.pictures is not None) != (self.reader == "manifest"):
            raise ValueError("pictures must be given for the reader manifest, and for no other")
        if self.metadata is not None and self.reader != "imdb_wiki":
            raise ValueError("metadata may be given for the reader imdb_wiki only")
        return self

    @property
    def files(self) -> tuple[str, ...]:
        """All that it names in the dataset's folder."""
        return tuple(name for name in (self.file, self.pictures, self.metadata) if name is not None)


@dataclass(frozen=True, slots=True)
class Labels:
    """What a source says of one picture, in the project's codes; None where it says nothing."""

    age: int | None = None  # years
    gender: int | None = None
    race: int | None = None
    subject: str | None = None  # a salted hash, never a name
    dob: date | None = None
    photo_taken: int | None = None  # year
    face_score: float | None = None
    second_face_score: float | None = None


LABEL_FIELDS = tuple(item.name for item in fields(Labels))


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture of the source, still encoded, and its labels; `path` is the row's key."""

    path: str
    data: bytes
    labels: Labels


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row of the source that cannot be used: one machine-readable reason, and its detail for people."""

    path: str
    reason: str
    detail: str


Item = Sample | Rejection


@dataclass(frozen=True)
class Reading:
    """A source that has been opened: which labels it has, its items, and what the reader noticed underway."""

    fields: frozenset[str]
    items: Iterator[Item]
    notes: Counter[str] = field(default_factory=Counter)  # complete when the items are exhausted


class Reader(Protocol):
    """What a module of a format offers; `ADVICE` tells people where to get its files, or what they hold."""

    ADVICE: str

    def read(self, source: SourceSettings, folder: Path, salt: str) -> Reading:
        """Open `source` in the dataset's folder; subjects become hashes with `salt`."""
        ...


def raw_file(folder: Path, name: str, advice: str) -> Path:
    """The path of file `name` in the dataset's folder.

    Raises:
        SourceError: it is not there; the message says where to put it and, by `advice`, where to get it. Or a folder
            on the way to it, or itself, is a symbolic link: DVC would not see what changes behind it.
    """
    path = folder
    for part in PurePosixPath(name).parts:
        path /= part
        if path.is_symlink() and path.is_dir():
            found = f"{path} is a symbolic link to a folder, and DVC does not look behind one inside a dataset"
            raise SourceError(f"{found}; link {folder} itself instead, or a file")
    if not path.exists():
        where = f"put it there or make it a symbolic link to a file; a folder elsewhere is linked as {folder} itself"
        raise SourceError(f"{path} is missing; {where}. {advice}")
    return path


def subject_code(salt: str, *identity: str) -> str:
    """What stands for a person: 32 hexadecimal digits (HMAC-SHA-256, cut to 128 bits) that only `salt` could link."""
    message = "\0".join(identity).encode()
    return hmac.new(salt.encode(), message, hashlib.sha256).hexdigest()[:32]
