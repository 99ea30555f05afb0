"""One pipeline, built once a session on the shrunken sample; tests work on copies of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.project import Project, checkout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The pipeline after `dvc repro`, its results committed to git. Not to be changed: take a copy."""
    project = checkout(tmp_path_factory.mktemp("project"))
    project.dvc("repro")
    project.commit("the first run")
    return project


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Project], Project]:
    """A copy of a project that a test may spoil."""
    return lambda project: project.copy(tmp_path / "copy")
