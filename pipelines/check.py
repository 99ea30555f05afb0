"""The flow `check`: start a rebuild if there is something new, else do nothing."""

import json
from pathlib import Path

from prefect import flow, get_run_logger, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Failed
from prefect.variables import Variable
from slugify import slugify

from pipelines import place
from pipelines.place import BusyError
from pipelines.project import DVC, Project, ProjectError, digest

UNCHANGED = "Unchanged"  # the state of a check that started nothing
UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


@flow(persist_result=False)
def check(
    deployment: str = "rebuild/nightly", folder: Path = Path(), ref: str = "HEAD", remote: str | None = None
) -> State:
    """Look for new raw data, another commit and data that the remote alone has; start a deployment if there are any.

    What was seen last is a Prefect variable, so it outlives the runner. It is renewed when a rebuild is started, not
    when it succeeds: data that a gate refuses are not rebuilt every hour. What changes while one, or another run in the
    folder, is at work is left to a later check, as is all after a killed `compare` or `tune` until its workspace is
    given back: a check changes nothing.

    Args:
        deployment: What to start, as flow/deployment.
        folder: The project whose raw data are looked at.
        ref: The git ref that the deployment builds, by default the commit that is checked out. The project's git
            remotes are asked first: `origin/main` follows their branch, if the deployment has that `ref` too.
        remote: The DVC remote to look at, for what dvc.lock names and the cache here lacks.
    """
    say = get_run_logger().info
    try:
        # Alone in the folder: until another run's end its dataset may be an overridden one.
        with place.opened(folder, f"run {runtime.flow_run.name}", "cancel", say, only_looks=True) as project:
            now = fingerprint(project, ref, remote)
    except BusyError as busy:
        return Completed(name=UNCHANGED, message=f"{busy}, so a later check looks")
    except ProjectError as error:
        return Failed(message=str(error))
    name = slugify(f"seen {project.folder} {deployment}", separator="_")
    before = Variable.get(name, default={})
    news = [what for what, seen in now.items() if before.get(what) != seen]
    if not news:
        return Completed(name=UNCHANGED, message="no new data, commit or remote state")
    try:
        if under_way(deployment):
            waits = f"changed: {', '.join(news)}; {deployment} is at work, so a later check starts it"
            return Completed(name=UNCHANGED, message=waits)
        run = run_deployment(deployment, timeout=0, as_subflow=False)
    except ObjectNotFound:
        return Failed(
            message=f"there is no deployment {deployment}; `make ui` or `python -m pipelines serve` brings it"
        )
    Variable.set(name, now, overwrite=True)
    say("changed: %s; started %s as %s", ", ".join(news), deployment, run.name)
    return Completed(message=f"changed: {', '.join(news)}; started {run.name}")


def under_way(deployment: str) -> bool:
    """Whether a run of a deployment has begun: the server would cancel another, some time after it is started."""
    with get_client(sync_client=True) as client:
        found = DeploymentFilterId(any_=[client.read_deployment_by_name(deployment).id])
        begun = FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY))
        runs = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=found), flow_run_filter=FlowRunFilter(state=begun), limit=1
        )
    return bool(runs)


def fingerprint(project: Project, ref: str, remote: str | None) -> dict[str, str]:
    """Digests of what a rebuild starts from: raw data (names, sizes, times), the commit, and the remote if any.

    Of the remote only what it has and the cache here lacks: results that are not pushed yet are nothing new.

    Raises:
        ProjectError: DVC or git cannot tell.
    """
    found = {"raw data": digest(raw(project)), "commit": place.resolved(project, ref, get_run_logger().warning)}
    if remote:
        status = project.answer(*DVC, "status", "--cloud", "--json", "--remote", remote)
        found["remote"] = digest(sorted(name for name, state in json.loads(status).items() if state == "deleted"))
    return found


def raw(project: Project) -> dict[str, list[int]]:
    """Size in bytes and time of change in nanoseconds of every file of raw data, by its path."""
    found = {}
    for dep in project.raw():
        for file in sorted(dep.rglob("*")) if dep.is_dir() else [dep]:
            if file.is_file():
                status = file.stat()
                found[str(file)] = [status.st_size, status.st_mtime_ns]
    return found
