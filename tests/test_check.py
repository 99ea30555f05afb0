"""The flow `check` on a toy pipeline: what it starts, and when it leaves that to a later check."""

import shutil
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.logging import disable_run_logger
from prefect.states import Completed, Running

from pipelines import experiments, place
from pipelines.check import check, fingerprint
from pipelines.project import Project
from pipelines.rebuild import rebuild
from tests.test_project import kill_a_series

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def nightly(prefect_api: str) -> str:
    """A deployment that nobody serves: its runs stay as they are."""
    rebuild.to_deployment("nightly").apply()
    return "rebuild/nightly"


def look(folder: Path) -> tuple[str, str]:
    state: State = check(folder=folder, return_state=True)
    return str(state.name), str(state.message)


def test_what_changes_during_a_rebuild_is_left_to_a_later_check(toy: Path, nightly: str) -> None:
    run = run_deployment(nightly, timeout=0, as_subflow=False)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Running(), force=True)
        waits = "changed: raw data, commit; rebuild/nightly is at work, so a later check starts it"
        assert look(toy) == ("Unchanged", waits)
        client.set_flow_run_state(run.id, Completed(), force=True)
    name, told = look(toy)
    assert name == "Completed" and told.startswith("changed: raw data, commit; started ")
    assert look(toy) == ("Unchanged", "no new data, commit or remote state")


def test_a_folder_in_which_a_run_works_is_left_to_a_later_check(toy: Path, nightly: str) -> None:
    with place.opened(toy, "run first", "wait", print):  # it may have chosen another dataset
        name, told = look(toy)
    assert name == "Unchanged" and told.startswith("run first (process ") and told.endswith("so a later check looks")
    assert look(toy)[0] == "Completed"


def test_a_folder_in_which_a_run_was_killed_stays_as_it_is(toy: Path, nightly: str) -> None:
    kill_a_series(Project(toy))
    left = (toy / "params.yaml").read_text()
    name, told = look(toy)
    assert name == "Unchanged"
    assert told.endswith("whose workspace the next run of another flow gives back, so a later check looks")
    assert (toy / "params.yaml").read_text() == left and experiments.was_killed(Project(toy))


def test_of_the_remote_only_what_is_lacking_here_is_new(built_toy: Path, tmp_path: Path) -> None:
    project = Project(built_toy)
    project.dvc("remote", "add", "shared", str(tmp_path / "shared"), say=print)

    def seen() -> str:
        with disable_run_logger():
            return fingerprint(project, "HEAD", "shared")["remote"]

    unpushed = seen()
    project.dvc("push", "--remote", "shared", say=print)
    assert seen() == unpushed
    shutil.rmtree(built_toy / ".dvc/cache")
    assert seen() != unpushed
