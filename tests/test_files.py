"""Writing: whole or not at all, the same bytes for the same content."""

import fcntl
from pathlib import Path

import pyarrow as pa
import pytest

from faceline.errors import BusyError, FacelineError
from faceline.files import atomic_directory, atomic_file, digest, read_json, read_table, write_json, write_table

SCHEMA = pa.schema([("a", pa.int16()), ("b", pa.string())])


def test_a_broken_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), atomic_file(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_two_processes_may_write_one_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    with atomic_file(path) as partial:
        partial.write_text("mine")
        monkeypatch.setattr("os.getpid", lambda: -1)
        write_json(path, "other")
    assert path.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_folder_is_replaced_whole_and_leftovers_of_a_killed_run_go(tmp_path: Path) -> None:
    path = tmp_path / "out"
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "leftover").touch()
    (tmp_path / "out.partial" / "folder" / "deep").mkdir(parents=True)
    with atomic_directory(path) as partial:
        (partial / "one").touch()
        assert not path.exists()
    with atomic_directory(path) as partial:
        (partial / "two").touch()
    assert [p.name for p in path.iterdir()] == ["two"]
    assert not (tmp_path / "out.partial").exists()


def test_a_folder_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with atomic_directory(path) as partial:
        (partial / "mine").touch()
        with pytest.raises(BusyError, match=f"another process writes {path}; wait"), atomic_directory(path):
            pass
    assert [p.name for p in path.iterdir()] == ["mine"]
    with pytest.raises(RuntimeError), atomic_directory(path):
        raise RuntimeError
    assert [p.name for p in path.iterdir()] == ["mine"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_another_process_has_just_finished_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, theirs, flock = tmp_path / "out", tmp_path / "out.partial", fcntl.flock
    theirs.mkdir()
    (theirs / "theirs").touch()

    def late(lock: int, operation: int) -> None:
        theirs.replace(path)  # the other one lets go of its lock then
        flock(lock, operation)

    monkeypatch.setattr("fcntl.flock", late)
    with pytest.raises(BusyError), atomic_directory(path):
        pass
    assert [p.name for p in path.iterdir()] == ["theirs"]


def test_tables_have_the_schema_and_the_same_bytes(tmp_path: Path) -> None:
    write_table(tmp_path / "1", pa.table({"b": ["x"], "a": [7], "c": [0]}), SCHEMA)
    write_table(tmp_path / "2", pa.table({"a": pa.array([7], pa.int64()), "b": ["x"]}), SCHEMA)
    assert read_table(tmp_path / "1").schema.equals(SCHEMA)
    assert digest(tmp_path / "1") == digest(tmp_path / "2")


def test_the_digest_of_a_folder_depends_on_names_and_contents(tmp_path: Path) -> None:
    def made(name: str, text: str) -> str:
        with atomic_directory(tmp_path / "d") as partial:
            (partial / name).write_text(text)
        return digest(tmp_path / "d")

    assert made("a", "1") == made("a", "1")
    assert len({made("a", "1"), made("a", "2"), made("b", "1")}) == 3


def test_json_refuses_numbers_that_are_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_folder_takes_no_place_that_it_could_not_take_in_the_end(tmp_path: Path, kind: str) -> None:
    """Or the work would be lost when it is done."""
    place, other = tmp_path / "place", tmp_path / "other"
    other.mkdir()
    place.symlink_to(other) if kind == "link" else place.write_text("kept")
    with pytest.raises(FacelineError, match="is a link, a mount or a file"), atomic_directory(place):
        raise AssertionError("no work is begun")
    assert place.exists() and sorted(path.name for path in tmp_path.iterdir()) == ["other", "place"]
