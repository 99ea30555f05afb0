"""Fixtures that several files share: small good tables of every stage, and a copy that a test may spoil."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import World, world
from tests.e2e.project import Project
from tests.toy_pipeline import toy_pipeline


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Good tables; not to be changed."""
    return world(tmp_path_factory.mktemp("good"))


@pytest.fixture
def made(good: World, tmp_path: Path) -> World:
    """A copy of the good tables."""
    return good.copy(tmp_path / "world")


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Project]:
    """The toy pipeline as it is before its first run, and after it, committed; not to be changed."""
    new = toy_pipeline(tmp_path_factory.mktemp("toy") / "new")
    built = new.copy(new.root.parent / "built")
    built.dvc("repro", "-q")
    built.commit("first run")
    return new, built


@pytest.fixture
def toy(toys: tuple[Project, Project], tmp_path: Path) -> Path:
    """A copy of the toy pipeline, never run."""
    return toys[0].copy(tmp_path / "toy").root


@pytest.fixture
def built_toy(toys: tuple[Project, Project], tmp_path: Path) -> Path:
    """A copy of the toy pipeline after its first run."""
    return toys[1].copy(tmp_path / "toy").root


@pytest.fixture(scope="module")
def prefect_api() -> Iterator[str]:
    """The API of a Prefect server of the file's own, with an empty database; its start takes 20 s.

    It ends with the file: its client's thread draws from Python's random numbers now and then, as it keeps its
    connection alive, and a training that is seeded in another file's test would come out differently.
    """
    from prefect.settings import get_current_settings
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=300):
        yield str(get_current_settings().api.url)
