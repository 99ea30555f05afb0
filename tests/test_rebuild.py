"""The flow `rebuild` on a toy pipeline: states, order, retries, gates, experiments, clones, artifacts."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, TaskRun

from pipelines import place
from pipelines.project import DVC, Project
from pipelines.rebuild import rebuild
from tests.e2e.processes import SOON, until

pytestmark = pytest.mark.usefixtures("prefect_api")
STAGES = ["prepare", "gate@prepare", "left", "right", "report"]
UNDECIDED = ("Scheduled", "Pending", "Running")  # states of task runs of which more is to come


def run(folder: Path, **parameters: Any) -> tuple[State, dict[str, TaskRun]]:
    """`rebuild` without a wait before a stage is tried again."""
    return run_of(rebuild, folder, retry_delay=0, **parameters)


def run_of(flow: Any, folder: Path, **parameters: Any) -> tuple[State, dict[str, TaskRun]]:
    """A flow's final state, and its task runs by name, in the order of their start."""
    state: State = flow(folder=folder, return_state=True, **parameters)
    found = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:

        def recorded() -> list[list[TaskRun]]:
            """The task runs, once the server has written down how each ended: that may be after the flow's end."""
            runs = client.read_task_runs(flow_run_filter=found, limit=50)
            return [runs] if all(task.state_name not in UNDECIDED for task in runs) else []

        (tasks,) = until(recorded)
    return state, {task.name: task for task in sorted(tasks, key=lambda task: task.start_time or task.created)}


def names(tasks: dict[str, TaskRun]) -> dict[str, str]:
    return {name: str(task.state_name) for name, task in tasks.items()}


def artifact(key: str) -> Any:
    """The data of the newest artifact with this key: a table's rows, else as they are."""
    found = Artifact.get(key)
    assert found, key
    return json.loads(str(found.data)) if found.type == "table" else found.data


def commits(folder: Path, branch: str) -> list[str]:
    return Project(folder).git("log", "--format=%s", branch).splitlines()


def test_a_task_run_a_stage_in_dvcs_order(toy: Path) -> None:
    state, tasks = run(toy)
    assert state.is_completed() and state.name == "Completed"
    assert list(tasks) == STAGES
    assert set(names(tasks).values()) == {"Completed"}
    after = {task.id: name for name, task in tasks.items()}
    waits = {name: sorted(after[i.id] for i in task.task_inputs.get("wait_for", [])) for name, task in tasks.items()}
    assert waits["left"] == ["gate@prepare", "prepare"] and waits["report"] == ["left", "right"]
    summary = artifact("summary")
    assert "| prepare | 3 | 2 | odd_row 1 |" in summary
    assert artifact("gate-prepare")[0]["verdict"] == "met"
    assert artifact("progress") == 100
    assert f"{toy}/data/report/index.html" in artifact("report")


def test_nothing_to_do_is_cached_without_running_dvc_again(built_toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Project, "reproduce", lambda *_, **__: pytest.fail("one status answers for all"))
        state, tasks = run(built_toy)
    assert state.name == "Cached" and state.is_completed()
    assert set(names(tasks).values()) == {"Cached"}
    assert {task.state.message for task in tasks.values() if task.state} == {"nothing that it depends on has changed"}
    forced, tasks = run(built_toy, force=True, targets=["prepare"])
    assert forced.name == "Completed" and names(tasks) == {"prepare": "Completed"}


@pytest.mark.slow
def test_only_what_changed_runs_and_the_run_cache_is_used(built_toy: Path) -> None:
    (built_toy / "raw/rows").write_text("one two three odd")
    _, tasks = run(built_toy)
    assert names(tasks) == {**dict.fromkeys(STAGES, "Completed"), "report": "Cached"}  # what it reads came out the same
    (built_toy / "raw/rows").write_text("one two odd")
    state, tasks = run(built_toy)
    assert state.name == "Cached"
    assert tasks["left"].state and tasks["left"].state.message == "restored from the run-cache"


def test_a_stage_that_fails_once_is_tried_again(toy: Path) -> None:
    (toy / "raw/fail-once").touch()
    state, tasks = run(toy, retries=1)
    assert state.is_completed()
    assert tasks["left"].run_count == 2


@pytest.mark.slow
def test_without_a_retry_the_failure_holds_what_comes_after(toy: Path) -> None:
    (toy / "raw/fail-once").touch()
    state, tasks = run(toy, retries=0)
    assert state.is_failed() and state.message == "left: left has failed this once"
    assert names(tasks) == {
        "prepare": "Completed", "gate@prepare": "Completed", "left": "Failed", "right": "Completed",
        "report": "NotReady",
    }  # fmt: skip
    assert "| report | Not run |" in artifact("summary")


def artifacts_of(state: State) -> set[str]:
    flow = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        return {str(found.key) for found in client.read_artifacts(flow_run_filter=flow, limit=50)}


def test_a_failed_gate_is_not_tried_again_and_names_the_rows(built_toy: Path) -> None:
    (built_toy / "raw/rows").write_text("one bad")
    state, tasks = run(built_toy, retries=3)
    assert state.is_failed()
    assert state.message and "expect_column_values_to_be_good (prepare/rows: row), as in row bad" in state.message
    assert tasks["gate@prepare"].run_count == 1 and tasks["gate@prepare"].state_name == "Failed"
    assert artifact("gate-prepare")[0]["rows"] == "row bad"
    assert artifacts_of(state) == {"gate-prepare", "progress", "summary"}  # the metrics and report are of an older run
    assert "| prepare | 2 | 2 | odd_row 0 |" in artifact("summary")


@pytest.mark.slow
def test_independent_stages_run_side_by_side_when_told_so(toy: Path) -> None:
    _, tasks = run(toy, parallel=2)
    left, right = tasks["left"], tasks["right"]
    assert left.start_time and left.end_time and right.start_time and right.end_time
    assert left.start_time < right.end_time and right.start_time < left.end_time
    assert not any(stage.changed for stage in Project(toy).stages())


@pytest.mark.slow
def test_overrides_are_recorded_as_an_experiment(built_toy: Path) -> None:
    (built_toy / "models/baseline.json").write_text('{"toy": {"metrics": {"age": {"mae": 6}}}}')
    state, tasks = run(built_toy, recipe="fancy", set=["n=8"])
    assert names(tasks)["report"] == "Completed" and names(tasks)["left"] == "Cached"
    shown = json.loads(Project(built_toy).answer("dvc", "exp", "show", "--json"))
    told = json.dumps(shown)
    with get_client(sync_client=True) as client:
        name = client.read_flow_run(state.state_details.flow_run_id).name
    assert name in told and '"fancy"' in told
    rows = {row["metric"]: row for row in artifact("metrics-toy")}
    assert rows["age.mae"]["value"] == 8 and rows["age.mae"]["against baseline"] == 2
    _, tasks = run(built_toy, set=["n=7"])
    rows = {row["metric"]: row for row in artifact("metrics-toy")}
    assert rows["age.mae"]["last run"] == 8 and rows["age.mae"]["change"] == -1


def test_a_run_whose_name_git_does_not_take_is_recorded_under_another(built_toy: Path) -> None:
    state, _ = run_of(rebuild.with_options(flow_run_name="wide net"), built_toy, targets=["prepare"], set=["n=8"])
    assert state.is_completed(), state.message
    assert "wide-net" in Project(built_toy).answer(*DVC, "exp", "list", "--name-only").split()


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"set": ["no_such_key=1"]}, "no_such_key"),
        ({"targets": ["no-such-stage"]}, "no-such-stage"),
        ({"branch": "nightly"}, "only a clone leaves its result on a branch (nightly)"),
        ({"ref": "no-such-ref"}, "has no branch, tag, commit or experiment no-such-ref"),
        ({"remote": "no-such-remote"}, "no-such-remote"),
    ],
)
def test_a_bad_parameter_fails_before_any_stage(built_toy: Path, parameters: dict[str, Any], told: str) -> None:
    state, tasks = run(built_toy, **parameters)
    assert state.is_failed() and told in str(state.message)
    assert not set(tasks) & set(STAGES)


def test_a_folder_without_a_pipeline_is_refused(tmp_path: Path) -> None:
    state, _ = run(tmp_path)
    assert state.is_failed() and state.message == f"{tmp_path} has no .dvc; give the root of a DVC project in git"


@pytest.mark.slow
def test_a_clone_leaves_the_project_alone_and_its_result_on_a_branch(built_toy: Path) -> None:
    (built_toy / "raw/rows").write_text("one two three odd")
    (built_toy / "params.yaml").write_text("nonsense")  # somebody is at work here
    state, _ = run(built_toy, ref="main", branch="nightly")
    assert state.is_completed(), state.message
    assert (built_toy / "params.yaml").read_text() == "nonsense"
    assert "3" not in (built_toy / "data/prepare/summary.json").read_text().partition("rows_in")[0]
    assert len(commits(built_toy, "nightly")) == 3 and commits(built_toy, "nightly")[1:] == ["first run", "start"]
    project = Project(built_toy)
    assert project.git("rev-parse", "main") == project.git("rev-parse", "nightly~1")
    run(built_toy, ref="main", branch="nightly")  # nothing new: no commit
    assert len(commits(built_toy, "nightly")) == 3
    (built_toy / "raw/rows").write_text("one two three four odd")
    state, _ = run(built_toy, ref="main", branch="nightly", set=["n=9"])
    assert len(commits(built_toy, "nightly")) == 4
    with get_client(sync_client=True) as client:
        name = client.read_flow_run(state.state_details.flow_run_id).name
    assert name in project.answer("dvc", "exp", "list", "--name-only", "--all-commits").split()


@pytest.mark.slow
def test_the_cache_of_a_clone_is_the_projects(built_toy: Path) -> None:
    _, tasks = run(built_toy, ref="main")
    assert set(names(tasks).values()) == {"Cached"}
    clone = built_toy / place.CLONES / "rebuild"
    assert not (clone / ".dvc/cache").exists()
    assert (clone / "data/left").read_text() == "left"
    assert (clone / "raw/rows").is_symlink()


@pytest.mark.slow
def test_two_runs_in_one_folder_never_meet(built_toy: Path) -> None:
    with place.opened(built_toy, "run first", "wait", print):
        state, tasks = run(built_toy, when_busy="cancel")
        assert state.is_cancelled() and "run first" in str(state.message)
        assert not tasks
        waiting = threading.Thread(target=lambda: results.append(run(built_toy)))
        results: list[tuple[State, dict[str, TaskRun]]] = []
        waiting.start()
        time.sleep(4)
        assert not results
    waiting.join(SOON)
    assert results and results[0][0].is_completed()
