"""The labels of WIKI as its authors publish them: `wiki.mat`, a MATLAB 5 file with one struct of 1 x N fields."""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.io import savemat

from faceline.datasets.labels import Gender
from faceline.datasets.sample.population import Row

MATLAB_EPOCH = 366  # days from MATLAB's day 0 (0 January of the year 0) to Python's ordinal 0
HEADER = 116  # bytes of free text at the start of the file, where savemat puts the date
TEXT = b"MATLAB 5.0 MAT-file, synthetic sample of faceline"
UNKNOWN_DATE = 1  # datenum of a row whose date of birth nobody knew: in the year 0


def wiki_mat(rows: Sequence[Row]) -> bytes:
    """The bytes of wiki.mat; they depend on `rows` alone."""
    fields = {
        "dob": _row([row.born.toordinal() + MATLAB_EPOCH if row.born else UNKNOWN_DATE for row in rows], np.int32),
        "photo_taken": _row([row.taken for row in rows], np.uint16),
        "full_path": _cells([row.path for row in rows]),
        "gender": _row([_gender(row.gender) for row in rows], np.float64),
        "name": _cells([row.name for row in rows]),
        "face_location": _cells([_location(row) for row in rows]),
        "face_score": _row([row.face_score for row in rows], np.float64),
        "second_face_score": _row([row.second_face_score for row in rows], np.float64),
    }
    buffer = io.BytesIO()
    savemat(buffer, {"wiki": fields})
    return TEXT.ljust(HEADER) + buffer.getvalue()[HEADER:]


def _gender(gender: Gender | None) -> float:
    """WIKI's code: 0 female, 1 male, NaN unknown."""
    return math.nan if gender is None else float(gender is Gender.MALE)


def _location(row: Row) -> npt.NDArray[np.float64]:
    """Left, top, right and bottom of the face, counted from 1; the whole picture where there is no face.

    Roughly: the middle of the place that the renderer gives a face. Nothing reads it.
    """
    size = row.shot.size
    if not row.shot.sitters:
        return np.array([[1.0, 1.0, size, size]])
    return 1 + size * np.array([[0.28, 0.22, 0.72, 0.78]])


def _row(values: Sequence[float], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.array([values], dtype)


def _cells(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    """A 1 x N cell array."""
    cells = np.empty((1, len(values)), object)
    for index, value in enumerate(values):
        cells[0, index] = value
    return cells
