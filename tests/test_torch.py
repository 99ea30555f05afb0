"""State dicts of PyTorch are read to the bit; damaged and hostile files give one clear line and do nothing."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from faceline.errors import WeightsError
from faceline.learning.networks._torch import read_state
from tests.torch_files import EMPTY, pickled, tensor, text, write_state

RANDOM = np.random.default_rng(1)
STATE = {
    "conv.weight": RANDOM.normal(size=(4, 3, 2, 2)).astype(np.float32),
    "fc.weight": RANDOM.normal(size=(5, 4)).astype(np.float32).T,  # a transposed view of its storage
    "double": RANDOM.normal(size=3),
    "half": RANDOM.normal(size=3).astype(np.float16),
    "num_batches_tracked": np.array(7),
}


@pytest.mark.parametrize("older", [False, True])
def test_both_layouts_give_the_numbers_back(tmp_path: Path, older: bool) -> None:
    found = read_state(write_state(tmp_path / "x.pt", STATE, older=older))
    assert list(found) == list(STATE)
    for name, array in STATE.items():
        assert found[name].dtype == (np.int64 if array.dtype.kind == "i" else np.float32)
        assert np.array_equal(found[name], array.astype(found[name].dtype))


def test_parameters_are_tensors(tmp_path: Path) -> None:
    array = np.arange(3, dtype=np.float32)
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + tensor("0", array, False) + b"\x88" + EMPTY + b"tR"
    data = b"\x80\x02" + EMPTY + text("x") + parameter + b"s."
    assert np.array_equal(read_state(write_state(tmp_path / "x.pt", {"x": array}, older=False, data=data))["x"], array)


def one_line(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_state(path)
    assert caught.value.message.startswith(f"{path} is no state dict of PyTorch that can be read safely: ")
    assert "\n" not in caught.value.message
    return caught.value.message


class Hostile:
    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("older", [False, True])
def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, older: bool) -> None:
    attack = pickle.dumps(Hostile(tmp_path / "ran"), 2)
    assert "it names posix.mkdir, which no state dict needs" in one_line(
        write_state(tmp_path / "x.pt", STATE, older=older, data=attack)
    )
    assert not (tmp_path / "ran").exists()
    pickle.loads(attack)  # noqa: S301 - so that we know that the attack is a real one
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x02cos\nsystem\n" + text("true") + b"\x85R.", "it names os.system"),
        (b"\x80\x02ctorch._utils\n_rebuild_device_tensor\n.", "it names torch._utils._rebuild_device_tensor"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "its pickle has SHORT_BINUNICODE"),
        (b"(S'true'\nios\nsystem\n.", "its pickle has STRING"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "its pickle has LONG_BINPUT"),  # C would make room for 2**31 objects
        (b"\x80\x02]" + text("x") + b"a.", "it holds no dict"),
        (b"\x80\x02}" + text("x") + text("y") + b"s.", "'x' is no tensor"),
        (b"\x80\x02}" + text("x") + text("storage") + b"\x85Qs.", "not enough values"),
        (b"\x80\x02" + EMPTY[:-2] + EMPTY + b"\x85R.", "positional argument"),  # copies of copies
        (b"\x80\x02}", "pickle exhausted before seeing STOP"),
        (b"", "pickle exhausted before seeing STOP"),
    ],
)
def test_what_no_state_dict_needs_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    assert message in one_line(write_state(tmp_path / "x.pt", STATE, older=False, data=data))


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"(J\3\0\0\0t(J\1\0\0\0t", b"(J\3\0\0\0t(J\2\0\0\0t", "reaches beyond its storage"),
        (b"(J\3\0\0\0t(J\1\0\0\0t", b"(J\3\0\0\0t(J\xff\xff\xff\xfft", "no sensible shape"),
        (b"(J\3\0\0\0t(J\1\0\0\0t", b"(J\0\0\0\x40t(J\0\0\0\0t", "reaches beyond its storage"),  # 4 GiB out of 4 bytes
        (b"(J\3\0\0\0t(J\1\0\0\0t", b"(J\3\0\0\0t(t", "no sensible shape"),
        (b"cuda:0J\3\0\0\0", b"cuda:0J\3\0\0\x40", "larger than the file"),
    ],
)
def test_a_tensor_lies_within_its_storage(tmp_path: Path, older: bool, old: bytes, new: bytes, message: str) -> None:
    state = {"x": np.arange(3, dtype=np.float32)}
    data = pickled(state, older)
    assert data.count(old) == 1
    assert message in one_line(write_state(tmp_path / "x.pt", state, older=older, data=data.replace(old, new)))


@pytest.mark.parametrize("older", [False, True])
def test_names_that_share_a_storage_take_no_more_than_the_file(tmp_path: Path, older: bool) -> None:
    """Each becomes an array of its own: a few bytes of pickle a name would make gigabytes of megabytes."""
    state = {"x": np.arange(10_000, dtype=np.float32)}
    items = b"".join(text(f"x{number}") + tensor("0", state["x"], older) for number in range(9))
    data = b"\x80\x02" + EMPTY + b"(" + items + b"u."
    assert "larger than the file" in one_line(write_state(tmp_path / "x.pt", state, older=older, data=data))


@pytest.mark.parametrize("older", [False, True])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, older: bool) -> None:
    whole = write_state(tmp_path / "x.pt", STATE, older=older).read_bytes()
    for keep in (0, 3, 40, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.pt").write_bytes(whole[:keep])
        one_line(tmp_path / "cut.pt")


def test_another_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in one_line(tmp_path / "none.pt")
    (tmp_path / "x.pt").write_bytes(pickle.dumps({"a": 1}, 2))
    assert "it begins like no file of PyTorch's" in one_line(tmp_path / "x.pt")
    assert "compressed" in one_line(write_state(tmp_path / "y.pt", STATE, older=False, compressed=True))


def test_a_storage_of_another_length_is_refused(tmp_path: Path) -> None:
    state = {"x": np.arange(3, dtype=np.float32)}
    path = write_state(tmp_path / "x.pt", state, older=True)
    path.write_bytes(
        path.read_bytes().replace(struct.pack("<q", 3) + state["x"].tobytes(), struct.pack("<q", 2) + b"\0" * 12)
    )
    assert "storage 0 has 2 numbers, not 3" in one_line(path)
