"""The map over Dask: order kept, a killed worker survived, bad settings refused. Real clusters: tests/e2e."""

import os
import signal
from pathlib import Path

import pytest

from faceline import parallel
from faceline.errors import SettingsError
from faceline.parallel import ClusterSettings, local_gpus, map_parts
from faceline.params import parse_settings

HERE = ClusterSettings()


def total(values: list[int]) -> int:
    return sum(values)


def own_variables(names: list[str]) -> list[str | None]:
    return [os.environ.get(name) for name in names]


def die_once(marker: list[str]) -> str:
    """Kill the worker that runs this, the first time."""
    path = Path(marker[0])
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def fail_once(marker: list[str]) -> str:
    """Raise, the first time."""
    path = Path(marker[0])
    if not path.exists():
        path.touch()
        raise OSError("the disk hiccuped")
    return "tried again"


def test_results_come_in_the_order_of_the_items() -> None:
    items = [list(range(length)) for length in range(1, 20)]
    assert map_parts(total, items, "add", HERE) == list(map(sum, items))
    assert map_parts(total, [], "add", HERE) == []


def test_a_worker_has_one_thread_and_a_gpu_of_its_own_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-7,GPU-8")  # workers inherit it
    monkeypatch.setattr(parallel, "local_gpus", lambda: ["GPU-7"])
    names = ["CUDA_VISIBLE_DEVICES", "TF_NUM_INTRAOP_THREADS"]
    assert map_parts(own_variables, [names] * 3, "ask", HERE, on_gpus=True) == [["GPU-7", "1"]] * 3
    assert map_parts(own_variables, [names], "ask", HERE) == [["GPU-7,GPU-8", "1"]]


@pytest.mark.parametrize(
    ("printed", "visible", "found"),
    [("2", None, ["0", "1"]), ("1", "3,5", ["3"]), ("2", "GPU-a,GPU-b", ["GPU-a", "GPU-b"]), ("", None, [])],
)
def test_the_gpus_are_those_that_tensorflow_can_use(
    printed: str, visible: str | None, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(parallel, "COUNT_GPUS", f"print('{printed}')")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local_gpus() == found
    tool.unlink()
    assert local_gpus() == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scheduler": "10.0.0.1"}, r"cluster.scheduler = '10.0.0.1'"),
        ({"processes": 0}, r"cluster.processes = 0: input should be greater than or equal to 1"),
        ({"workers": 2}, r"cluster.workers is not a setting"),
    ],
)
def test_a_wrong_setting_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_settings(ClusterSettings, values, "cluster")


def test_a_task_that_raises_is_tried_again(tmp_path: Path) -> None:
    assert map_parts(fail_once, [[str(tmp_path / "marker")]], "fail", HERE) == ["tried again"]


@pytest.mark.slow
def test_a_killed_worker_is_survived(tmp_path: Path) -> None:
    assert map_parts(die_once, [[str(tmp_path / "marker")]], "die", HERE) == ["survived"]
