"""The map over Dask: order kept, a killed worker survived."""

import os
import signal
from pathlib import Path

import pytest

from faceline.parallel import map_parts


def square(value: int) -> int:
    return value * value


def die_once(marker: str) -> str:
    """Kill the worker that runs this, the first time."""
    path = Path(marker)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def test_results_come_in_the_order_of_the_items() -> None:
    assert map_parts(square, list(range(20)), "square") == [value * value for value in range(20)]
    assert map_parts(square, [], "square") == []


@pytest.mark.slow
def test_a_killed_worker_is_survived(tmp_path: Path) -> None:
    assert map_parts(die_once, [str(tmp_path / "marker")], "die") == ["survived"]
