"""The flow `check` on a toy pipeline: what it starts, and when it leaves that to a later check."""

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.states import Completed, Running

from pipelines import place
from pipelines.check import check
from pipelines.rebuild import rebuild

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
