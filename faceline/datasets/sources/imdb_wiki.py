"""IMDB-WIKI: faces of IMDb and Wikipedia with date of birth and year taken (Rothe, Timofte, Van Gool 2015).

An archive as downloaded (imdb_crop.tar, wiki_crop.tar) holds the pictures and `imdb.mat` or `wiki.mat`. Its gender has
0 female and 1 male, the opposite of ours; `dob` counts days as MATLAB does; -inf as face_score says that no face was
found, NaN as second_face_score that no second one was. A subject is IMDb's celeb_id, or for Wikipedia name and page.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import date
from math import isnan
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from faceline.datasets.labels import Gender
from faceline.datasets.sources.archive import members
from faceline.datasets.sources.join import is_metadata, join
from faceline.datasets.sources.mat import MAX_FILE, Column, MatError, read_struct
from faceline.datasets.sources.source import Labels, Reading, SourceSettings, raw_file, subject_code
from faceline.errors import PictureError, SourceError

ADVICE = "IMDB-WIKI is at https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/ (wiki_crop.tar, imdb_crop.tar)."
FIELDS = frozenset({"age", "gender", "subject", "dob", "photo_taken", "face_score", "second_face_score"})

_REQUIRED = ("dob", "photo_taken", "full_path", "gender", "face_score", "second_face_score")
_IDENTITY = {"imdb": "celeb_id", "wiki": "name"}
_YEAR_ZERO = 366  # days; MATLAB's day 367 is 1 January of year 1, Python's ordinal 1


def read(source: SourceSettings, folder: Path, salt: str) -> Reading:
    """Open an IMDB-WIKI archive and read its metadata.

    Raises:
        SourceError: archive or .mat is missing, or the .mat lacks a field.
    """
    archive = raw_file(folder, source.file, ADVICE)
    if source.metadata is None:
        where, data = _mat_inside(archive)
    else:
        file = raw_file(folder, source.metadata, ADVICE)
        if file.stat().st_size > MAX_FILE:
            raise SourceError(f"{file} is larger than {MAX_FILE} bytes")
        where, data = str(file), file.read_bytes()
    paths, table = _columns(where, data, salt)
    notes: Counter[str] = Counter()
    return Reading(FIELDS, join(archive, paths, table.labels, source.prefix, notes), notes)


@dataclass(frozen=True)
class _Table:
    """The metadata by column, each of shape (rows,); row by row it would take ten times the memory."""

    dob: npt.NDArray[np.float64]  # MATLAB's day number
    photo_taken: npt.NDArray[np.float64]  # year
    gender: npt.NDArray[np.float64]
    face_score: npt.NDArray[np.float64]
    second_face_score: npt.NDArray[np.float64]
    subject: npt.NDArray[np.bytes_]

    def labels(self, row: int) -> Labels | tuple[str, str]:
        """The labels of a row, or why it is rejected."""
        born = birth_date(self.dob[row])
        if born is None:
            return "invalid_dob", f"dob {self.dob[row]:g} is not a day of the years 1 to 9999"
        year = self.photo_taken[row]
        if not isnan(year) and not 1 <= year <= 9999:
            return "invalid_photo_taken", f"photo_taken {year:g} is not a year from 1 to 9999"
        gender = self.gender[row]
        if not isnan(gender) and gender not in (0, 1):
            return "malformed_label", f"gender {gender:g}; allowed: 0, 1 and NaN"
        face, second = self.face_score[row], self.second_face_score[row]
        return Labels(
            age=None if isnan(year) else age_on_first_of_july(born, int(year)),
            gender=None if isnan(gender) else int(Gender.MALE if gender == 1 else Gender.FEMALE),
            subject=self.subject[row].decode() or None,
            dob=born,
            photo_taken=None if isnan(year) else int(year),
            face_score=None if isnan(face) else float(face),
            second_face_score=None if isnan(second) else float(second),
        )


def birth_date(datenum: float) -> date | None:
    """The day of a MATLAB serial date number; None where it lies outside the years 1 to 9999, or is NaN."""
    ordinal = datenum - _YEAR_ZERO
    return date.fromordinal(int(ordinal)) if 1 <= ordinal <= date.max.toordinal() else None


def age_on_first_of_july(born: date, year: int) -> int:
    """Full years on 1 July of `year`: the day of a photo is unknown, and the middle of the year errs least."""
    return year - born.year - ((born.month, born.day) > (7, 1))


def _mat_inside(archive: Path) -> tuple[str, bytes]:
    """Name and bytes of the first .mat in the archive, which is streamed up to there."""
    for member in members(archive):
        if is_metadata(member.name):
            try:
                return f"{archive}: {member.name}", member.read(MAX_FILE)
            except PictureError as error:
                raise SourceError(f"{archive}: {member.name}: {error.detail}") from None
    raise SourceError(f"{archive} holds no .mat; name the file that lies outside the archive as the source's metadata")


def _columns(where: str, data: bytes, salt: str) -> tuple[list[str], _Table]:
    """The paths and the other columns of the metadata in `data`; `where` names them in errors."""
    try:
        name, columns = read_struct(data, {name: (*_REQUIRED, field) for name, field in _IDENTITY.items()})
    except MatError as error:
        raise SourceError(f"{where}: {error}") from None
    fields = (*_REQUIRED, _IDENTITY[name])
    missing = [field for field in fields if field not in columns]
    if missing:
        raise SourceError(f"{where}: the struct {name!r} has no field {', '.join(map(repr, missing))}")
    for field in fields:
        if isinstance(columns[field], list) != (field in ("full_path", "name")):
            raise SourceError(f"{where}: the field {field!r} is of another type than in IMDB-WIKI")
        if len(columns[field]) != len(columns["full_path"]):
            raise SourceError(f"{where}: {field!r} has {len(columns[field])} rows, others {len(columns['full_path'])}")
    paths = cast(list[str], columns["full_path"])
    numbers = {field: np.asarray(columns[field], dtype=np.float64) for field in _REQUIRED if field != "full_path"}
    return paths, _Table(**numbers, subject=_subjects(name, paths, columns[_IDENTITY[name]], salt))


def _subjects(name: str, paths: list[str], identities: Column, salt: str) -> npt.NDArray[np.bytes_]:
    """The subject's code for each row; empty where IMDb's celeb_id is unknown."""
    codes = np.zeros(len(paths), dtype="S32")
    for row, (path, identity) in enumerate(zip(paths, identities, strict=True)):
        if name == "wiki":
            page = path.rpartition("/")[2].partition("_")[0]
            codes[row] = subject_code(salt, name, identity, page)
        elif identity >= 1:  # false for NaN too
            codes[row] = subject_code(salt, name, f"{identity:.0f}")
    return codes
