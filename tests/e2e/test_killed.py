"""A stage that is killed leaves nothing that looks finished, and the next run gives what an undisturbed one gives."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from faceline.files import PARTIAL, digest
from tests.e2e.processes import running, until, working_in
from tests.e2e.project import Project, environment

pytestmark = pytest.mark.slow

STAGES = {  # stage: (what it makes, seconds after its start when it is killed)
    "sample": ("data/raw/sample", 1.0),
    "ingest": ("data/ingest", 1.5),
    "clean": ("data/clean", 1.5),
    "detect": ("data/detect", 7.0),
    "crop": ("data/crop", 5.0),
    "split": ("data/split", 1.5),
    "shard": ("data/shards", 1.5),
    "train": ("models/bundle", 10.0),
    "evaluate": ("data/evaluate", 6.0),
    "report": ("data/report", 3.0),
}


def kill_during(project: Project, stage: str, delay: float) -> None:
    """Force a stage to run and kill -9 it, DVC and their children `delay` seconds after it has started."""
    command = (sys.executable, "-m", "dvc", "repro", "--single-item", "--force", stage)
    with running(*command, cwd=project.root, env=environment(), stdout=subprocess.DEVNULL) as run:
        until(lambda: working_in(project.root, f"-m stages.{stage}") or run.poll() is not None)
        assert run.poll() is None
        time.sleep(delay)
        if working_in(project.root, f"-m stages.{stage}"):
            os.killpg(run.pid, signal.SIGKILL)
        else:  # it was quicker; DVC writes dvc.lock in place, and what a kill does to that is not the stage's
            run.wait()
    for left in working_in(project.root):  # Dask's workers have sessions of their own
        with suppress(psutil.NoSuchProcess):
            left.kill()
    until(lambda: not working_in(project.root))


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_is_made_again(built: Project, copy_of: Callable[[Project], Project], stage: str) -> None:
    from faceline.learning.bundle import Predictor

    project = copy_of(built)
    made, delay = STAGES[stage]
    before = {table: digest(project.root / table) for table, _ in STAGES.values()}
    kill_during(project, stage, delay)
    if stage != "train":  # a .keras file carries a date
        assert not (project.root / made).exists() or digest(project.root / made) == before[made]
    project.dvc("repro", "--single-item", "--force", stage)  # without force DVC would bring the old result back
    assert not list((project.root / made).parent.glob(f"*{PARTIAL}"))
    if stage == "train":
        Predictor(project.root / made)  # raises if anything is missing or altered
    else:
        assert digest(project.root / made) == before[made]
