"""One pipeline, built once a session on the shrunken sample; tests work on copies of it."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.project import Project, checkout

# The longest first, so that it does not go on when all others are done; beside it one that needs no project, which it
# builds meanwhile.
FIRST = ("test_prefect", "test_models")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests into the order in which pytest-xdist hands their files out."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """The pipeline after `dvc repro`, its results committed to git. Not to be changed, nor DVC run in it: take a copy.

    The workers of pytest-xdist share it: the first one that needs it builds it, others wait until it is there.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "shared"
    folder.mkdir(exist_ok=True)
    done = folder / "built"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return Project(folder / "project")
        project = checkout(folder / "project")
        project.dvc("repro")
        project.commit("the first run")
        done.touch()
    return project


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Project], Project]:
    """A copy of a project that a test may spoil."""
    return lambda project: project.copy(tmp_path / "copy")
