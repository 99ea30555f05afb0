"""Detection on real clusters: the same bytes from any number of workers, and nothing finished is lost by a kill."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.pictures import photos
from faceline.datasets.detections import Part, read_store, search, store_folder
from faceline.datasets.tables import FACES, IMAGES
from faceline.errors import WorkError
from faceline.faces.detection import DetectSettings
from faceline.files import write_table
from faceline.parallel import SCHEDULER, ClusterSettings, map_parts
from stages.detect import missing_parts
from tests.e2e.processes import SOON, running, until
from tests.imports import ROOT

pytestmark = pytest.mark.slow

SETTINGS = DetectSettings()
PARTS, EACH = 8, 12
DASK = Path(sys.executable).parent / "dask"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An images table of small photos in parts."""
    folder = tmp_path_factory.mktemp("images")
    data = list(photos(PARTS * EACH, seed=3, shortest=90, longest=240))
    for part in range(PARTS):
        rows = [
            {"image_id": f"{number:03}", "path": f"{number}.jpg", "bytes": data[number]}
            for number in range(part * EACH, (part + 1) * EACH)
        ]
        write_table(folder / f"part-{part:05}.parquet", pa.Table.from_pylist(rows, IMAGES), IMAGES)
    return folder


def todo(images: Path, store: Path) -> list[Part]:
    wanted = {f"{number:03}" for number in range(PARTS * EACH)}
    return missing_parts(images, wanted, SETTINGS, 10**6, store_folder(store, SETTINGS))


def table(store: Path) -> bytes:
    """The bytes of what the stage would write."""
    faces = read_store(store_folder(store, SETTINGS), {f"{number:03}" for number in range(PARTS * EACH)})
    assert faces.num_rows >= PARTS * EACH
    write_table(store / "faces.parquet", faces, FACES)
    return (store / "faces.parquet").read_bytes()


@pytest.fixture(scope="module")
def local(images: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What one process on this machine gives."""
    store = tmp_path_factory.mktemp("one")
    map_parts(search, todo(images, store), "detect", ClusterSettings(processes=1))
    return table(store)


def process(*command: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A process that finds the project's code from anywhere and is killed at the end."""
    return running(*command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL, cwd="/")


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The address of a real `dask scheduler` on localhost."""
    file = tmp_path / "scheduler.json"
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    with process(str(DASK), "scheduler", *options):
        until(lambda: file.exists() and file.read_text().endswith("}"))
        yield json.loads(file.read_text())["address"]


def worker(address: str) -> tuple[str, ...]:
    return (str(DASK), "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")


def finished(store: Path) -> int:
    return len(list(store.glob("*/*.parquet")))


def test_two_local_processes_give_the_bytes_of_one(images: Path, local: bytes, tmp_path: Path) -> None:
    done = map_parts(search, todo(images, tmp_path), "detect", ClusterSettings(processes=2))
    assert done == [EACH] * PARTS
    assert table(tmp_path) == local


def test_a_named_scheduler_with_two_workers_gives_the_same_bytes(
    scheduler: str, images: Path, local: bytes, tmp_path: Path
) -> None:
    with process(*worker(scheduler)), process(*worker(scheduler)):
        map_parts(search, todo(images, tmp_path), "detect", ClusterSettings(scheduler=scheduler))
    assert table(tmp_path) == local


def test_a_worker_killed_midway_is_survived(
    scheduler: str, images: Path, local: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCHEDULER, scheduler)  # goes before the setting, whose scheduler there is not
    with (
        process(*worker(scheduler)),
        process(*worker(scheduler)) as victim,
        process(sys.executable, "-c", KILL, str(tmp_path), str(victim.pid)),
    ):
        map_parts(search, todo(images, tmp_path), "detect", ClusterSettings(scheduler="tcp://127.0.0.1:1"))
        assert victim.wait(SOON) == -signal.SIGKILL
    assert table(tmp_path) == local


# Kills process argv[2] as soon as two parts are in the store argv[1].
KILL = """
import os, signal, sys, time
from pathlib import Path
while len(list(Path(sys.argv[1]).glob("*/*.parquet"))) < 2:
    time.sleep(0.01)
os.kill(int(sys.argv[2]), signal.SIGKILL)
"""

# The stage's map with one process, in an interpreter of its own that can be killed; after three parts it waits for it.
RUN = """
import sys, time
from pathlib import Path
from faceline.datasets.detections import search
from faceline.parallel import ClusterSettings, map_parts
from tests.e2e.test_cluster import finished, todo
def some(part):
    while finished(Path(sys.argv[2])) >= 3:
        time.sleep(1)
    return search(part)
if __name__ == "__main__":
    parts = todo(Path(sys.argv[1]), Path(sys.argv[2]))
    map_parts(some, parts, "detect", ClusterSettings(processes=1))
"""


def test_a_killed_run_loses_only_the_parts_under_way(images: Path, local: bytes, tmp_path: Path) -> None:
    script, store = tmp_path / "run.py", tmp_path / "store"
    script.write_text(RUN)
    with process(sys.executable, str(script), str(images), str(store)) as run:
        until(lambda: finished(store) == 3)
        run.kill()
        run.wait()
    until(lambda: not children(script))  # the worker notices that it is alone
    left = todo(images, store)
    assert finished(store) == 3 and len(left) == PARTS - 3
    map_parts(search, left, "detect", ClusterSettings(processes=1))
    assert table(store) == local


def children(script: Path) -> list[str]:
    """The command lines of processes that name `script`: a spawned worker gets its path to import it again."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_text()
        except OSError:
            continue  # it has ended meanwhile
        if str(script) in line:
            found.append(line)
    return found


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1"])
def test_a_scheduler_that_does_not_answer_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceline.parallel.PATIENCE", 2)
    with pytest.raises(WorkError, match=f"no Dask scheduler answers at {address}"):
        map_parts(len, [[1]], "count", ClusterSettings(scheduler=address))


def test_a_scheduler_without_a_worker_is_told(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceline.parallel.PATIENCE", 10)  # also to find the scheduler
    with pytest.raises(WorkError, match=f"has no worker; start one: dask worker {scheduler}"):
        map_parts(len, [[1]], "count", ClusterSettings(scheduler=scheduler))


def test_an_item_that_fails_each_time_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"break: \[1, 2\]: ZeroDivisionError: division by zero"):
        map_parts(broken, [[1, 2]], "break", ClusterSettings(processes=1))


def broken(_: Mapping[str, str]) -> float:
    return 1 / 0
