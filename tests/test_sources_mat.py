"""The .mat reader gives what scipy gives, and refuses what it cannot know."""

import io
import struct

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from faceline.datasets.sources import mat
from faceline.datasets.sources.mat import MatError, read_struct


def cells(values: list[object]) -> np.ndarray:
    column = np.empty((1, len(values)), dtype=object)
    column[0, :] = values
    return column


FIELDS = {
    "days": np.array([[723671, 1, 366]], np.int32),
    "year": np.array([[2009, 65535, 0]], np.uint16),
    "score": np.array([[3.5, -np.inf, np.nan]]),
    "path": cells(["17/a_b.jpg", "é/ü.jpg", ""]),
    "box": cells([np.ones((1, 4)), np.zeros((1, 4)), np.zeros((0, 0))]),
}
WANTED = {"wiki": ("days", "year", "score", "path")}


def saved(name: str = "wiki", compress: bool = True, **fields: object) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, {"other": np.ones((3, 3)), name: fields or FIELDS}, do_compression=compress)
    return buffer.getvalue()


@pytest.mark.parametrize("compress", [True, False])
def test_the_columns_are_those_of_scipy(compress: bool) -> None:
    data = saved(compress=compress)
    theirs = loadmat(io.BytesIO(data))["wiki"][0, 0]
    name, ours = read_struct(data, WANTED)
    assert name == "wiki"
    assert sorted(ours) == sorted(WANTED["wiki"])
    for field in ("days", "year", "score"):
        assert np.array_equal(ours[field], theirs[field][0], equal_nan=True)
        assert np.asarray(ours[field]).dtype == theirs[field].dtype
    assert ours["path"] == [str(cell[0]) if cell.size else "" for cell in theirs["path"][0]]


def element(kind: int, body: bytes) -> bytes:
    return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)


def array(kind: int, columns: int, name: bytes, *body: bytes) -> bytes:
    head = element(6, struct.pack("<II", kind, 0)), element(5, struct.pack("<ii", 1, columns)), element(1, name)
    return element(14, b"".join((*head, *body)))


def test_matlab_stores_small_whole_numbers_as_bytes_whatever_their_class() -> None:
    double = array(6, 3, b"", element(2, bytes([1, 0, 200])))
    fields = element(5, struct.pack("<i", 32)), element(1, b"score".ljust(32, b"\0")), double
    data = saved()[:128] + array(2, 1, b"wiki", *fields)
    assert np.array_equal(loadmat(io.BytesIO(data))["wiki"][0, 0]["score"], [[1.0, 0.0, 200.0]])
    _, columns = read_struct(data, {"wiki": ("score",)})
    assert np.array_equal(columns["score"], [1.0, 0.0, 200.0])
    assert np.asarray(columns["score"]).dtype == np.float64


def test_a_missing_field_is_just_not_there() -> None:
    _, columns = read_struct(saved(days=FIELDS["days"]), WANTED)
    assert sorted(columns) == ["days"]


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "not a little-endian .mat"),
        (b"\x89HDF" + bytes(200), "not a little-endian .mat"),
        (saved("faces"), "no struct named wiki"),
        (saved()[:300], "cut off"),
        (saved(compress=False)[:-40], "cut off"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(MatError, match=message):
        read_struct(data, WANTED)


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mat, "MAX_INFLATED", 2**10)
    with pytest.raises(MatError, match="larger than 1024 bytes"):
        read_struct(saved(days=np.zeros((1, 2**16))), WANTED)


def test_more_rows_than_any_dataset_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mat, "MAX_ROWS", 2)
    with pytest.raises(MatError, match="3 rows; at most 2 are read"):
        read_struct(saved(), WANTED)


def test_texts_that_are_not_as_many_as_declared_are_refused() -> None:
    cell = array(1, 3, b"", element(14, b""))  # a cell array of 3 that holds one
    fields = element(5, struct.pack("<i", 32)), element(1, b"path".ljust(32, b"\0")), cell
    data = saved()[:128] + array(2, 1, b"wiki", *fields)
    with pytest.raises(MatError, match="not the 3 texts that are declared"):
        read_struct(data, {"wiki": ("path",)})


@pytest.mark.parametrize("seed", range(60))
def test_damage_anywhere_is_refused_or_read_but_no_crash(seed: int) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(saved(compress=False))
    for position in random.integers(128, len(data), 6):
        data[position] = random.integers(0, 256)
    try:
        assert read_struct(bytes(data), WANTED)[0] == "wiki"
    except MatError as error:
        assert str(error)
