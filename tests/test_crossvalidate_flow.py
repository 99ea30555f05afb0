"""The flow `crossvalidate` in a toy project: a task run a fold, resumed, and the report made anew."""

from pathlib import Path

import pytest

from pipelines.crossvalidate import METRICS, crossvalidate
from pipelines.place import opened
from tests.test_rebuild import artifact, names, run_of
from tests.toy_pipeline import repository

pytestmark = pytest.mark.usefixtures("prefect_api")
STAGE = r"""
import pathlib, sys
for path in sys.argv[1:]:
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_text("made " + str(pathlib.Path("data/crossvalidate/metrics.csv").exists()))
"""
DVC = """
stages:
  shard: {cmd: python stage.py data/shards, outs: [data/shards]}
  gate:
    foreach: {shard: {table: data/shards}}
    do: {cmd: python stage.py data/gates/shard.pass, deps: ["${item.table}"], outs: [data/gates/shard.pass]}
  train: {cmd: python stage.py models/bundle, deps: [data/gates/shard.pass], params: [recipe], outs: [models/bundle]}
  report: {cmd: python stage.py data/report/index.html, deps: [models/bundle], outs: [data/report]}
"""
STEPS = r"""
import json, pathlib, sys
data, step = pathlib.Path("data"), sys.argv[1]
def fold(k):
    names = "shards", "gates", "history", "bundle", "answers"
    return {"fold": k, "rows": {"test": 1}, **{name: f"data/store/{k}/{name}" for name in names}}
def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
if step == "prepare":
    write(data / "store/crossvalidate/plan.json", json.dumps({"folds": [fold(0), fold(1)]}))
elif step == "answer":
    assert pathlib.Path(fold(sys.argv[2])["bundle"]).exists()
    write(pathlib.Path(fold(sys.argv[2])["answers"]), "")
else:
    write(data / "crossvalidate/metrics.csv", "metric,fold_0,fold_1,mean,sd\nmae,1,3,2,1.41\n")
"""
TRAIN = r"""
import pathlib, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
bundle, fail = pathlib.Path(given["--output"]), pathlib.Path("fail")
if fail.exists() and "/1/" in given["--shards"]:
    fail.unlink()
    sys.exit("Error: out of memory")
print("epoch 1/1")
bundle.parent.mkdir(parents=True, exist_ok=True)
bundle.touch()
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    root = tmp_path / "toy"
    for file, text in (("faceline/crossvalidate.py", STEPS), ("stages/train.py", TRAIN)):
        (root / file).parent.mkdir(parents=True)
        (root / file).write_text(text)
        (root / file).with_name("__init__.py").touch()
    return repository(root, STAGE, DVC, "dataset: toy\nrecipe: plain\n").root


def test_a_fold_a_task_and_finished_ones_are_kept(toy: Path) -> None:
    (toy / "fail").touch()
    state, tasks = run_of(crossvalidate, toy)
    assert state.is_failed() and state.message == "fold 1: stages.train: out of memory"
    assert names(tasks) == {"shard": "Completed", "gate@shard": "Completed", "fold-0": "Completed", "fold-1": "Failed"}
    assert not (toy / METRICS).exists()
    state, tasks = run_of(crossvalidate, toy)
    assert state.message == "2 folds, 1 of them done before; see data/crossvalidate"
    assert names(tasks) == {"shard": "Cached", "gate@shard": "Cached", "fold-0": "Cached", "fold-1": "Completed"}
    assert artifact("crossvalidation") == [{"metric": "mae", "fold_0": "1", "fold_1": "3", "mean": "2", "sd": "1.41"}]
    assert artifact("progress") == 100
    assert not (toy / "data/report").exists()  # none is made where there was none


def test_a_report_that_is_there_shows_the_result(toy: Path) -> None:
    with opened(toy, "test", "wait", print) as project:
        project.dvc("repro", "--quiet", say=print)
    assert (toy / "data/report/index.html").read_text() == "made False"
    state, _ = run_of(crossvalidate, toy)
    assert state.is_completed(), state.message
    assert (toy / "data/report/index.html").read_text() == "made True"


def test_a_report_of_what_was_chosen_before_stays(toy: Path) -> None:
    with opened(toy, "test", "wait", print) as project:
        project.dvc("repro", "--quiet", say=print)
    (toy / "params.yaml").write_text("dataset: toy\nrecipe: fancy\n")
    state, _ = run_of(crossvalidate, toy)
    assert state.is_completed(), state.message
    assert (toy / "data/report/index.html").read_text() == "made False"


def test_the_program_of_the_stage_takes_what_the_flow_gives(toy: Path) -> None:
    from stages.train import main

    needed = {option.name for option in main.params if option.required}
    assert needed == {"shards", "gates", "store", "history", "output"}
