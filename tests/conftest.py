"""Fixtures that several files share: small good tables of every stage, and a copy that a test may spoil."""

from pathlib import Path

import pytest

from tests.builders import World, world


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Good tables; not to be changed."""
    return world(tmp_path_factory.mktemp("good"))


@pytest.fixture
def made(good: World, tmp_path: Path) -> World:
    """A copy of the good tables."""
    return good.copy(tmp_path / "world")
