"""The flow `rebuild`: `dvc repro` with every stage a task run of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import create_link_artifact
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field
from slugify import slugify

from pipelines import artifacts, experiments, place, reports
from pipelines.building import CACHED, Build, Built, build
from pipelines.place import BusyError, WhenBusy
from pipelines.project import Project, ProjectError
from pipelines.remote import pull, push
from pipelines.reports import WORKSPACE


@flow(persist_result=False)
def rebuild(  # noqa: PLR0917 - each is a field in the UI
    targets: Sequence[str] = (),
    force: bool = False,
    dataset: str | None = None,
    recipe: str | None = None,
    set: Sequence[str] = (),
    parallel: Annotated[int, Field(ge=1)] = 1,
    retries: Annotated[int, Field(ge=0)] = 1,
    retry_delay: Annotated[float, Field(ge=0)] = 10.0,
    folder: Path = Path(),
    ref: str | None = None,
    branch: str | None = None,
    remote: str | None = None,
    when_busy: WhenBusy = "wait",
) -> State:
    """Bring a DVC pipeline up to date, one task run a stage.

    It ends Cached where nothing had to be done, and Failed with the message of the stage or gate that failed.

    Args:
        targets: Stages to bring up to date, with what they need; all without.
        force: Run stages also where nothing changed.
        dataset: An entry of `datasets` in params.yaml. With this, `recipe` or `set` the run is recorded as a DVC
            experiment of its own name, with `-` for blanks and the like.
        recipe: An entry of `recipes` in params.yaml.
        set: Further overrides, as `-S` of `dvc exp run`.
        parallel: How many independent stages may run side by side.
        retries: How often a stage that fails is tried again; a gate never is.
        retry_delay: Seconds before it is.
        folder: The project.
        ref: Work in a clone of the project at this git ref, not in the folder itself.
        branch: Leave the clone's result as a commit on this branch of the project; not without `ref`.
        remote: The DVC remote to pull from first and to push to afterwards.
        when_busy: What to do while another run works in the folder.
    """
    say, name = get_run_logger().info, str(runtime.flow_run.name)
    experiment = slugify(name, lowercase=False)  # git does not take every name
    changes = experiments.overrides(dataset, recipe, set)
    how = Build(force=force, parallel=parallel, retries=retries, delay=retry_delay)
    try:
        place.require_clone(ref, branch)
        deployed = str(runtime.deployment.name or WORKSPACE)
        clone = "rebuild" if deployed == WORKSPACE else deployed  # reports have the project's own folder by that name
        with place.opened(folder, f"run {name}", when_busy, say, ref=ref, name=clone) as project:
            experiments.override(project, changes)
            if ref:
                place.link_raw(folder, project, say)
            if remote:
                pull(project, remote)
            built = build(project, targets, how)
            publish(project, built)
            if built.done and changes:
                experiments.save(project, experiment, built.completed, say)
                if ref:
                    project.dvc("exp", "push", "--no-cache", "origin", experiment, say=say)  # out of the clone
            if built.done and remote:
                push(project, remote)
            if built.done and ref and branch:
                left = place.commit_result(project, branch, f"Run {name}: {ref} rebuilt")
                say("%s on branch %s", left[:12] if left else "nothing new", branch)
            return final(built)
    except BusyError as busy:
        return Cancelled(message=str(busy))
    except ProjectError as error:
        return Failed(message=str(error))


def publish(project: Project, built: Built) -> None:
    """Leave metrics, counts and the link to the report in the UI, of what is up to date: what is older misleads."""
    current = [stage for stage in built.stages if stage.name in built.completed]
    artifacts.publish_metrics(project, current)
    report = reports.link(project.folder) if built.done else None
    artifacts.publish_summary(built.told(), current, report)
    if report:
        create_link_artifact(report, link_text="The report", key="report", description="Counts, pictures and metrics")


def final(built: Built) -> State:
    """The state of a run by those of its stages."""
    if built.failures and not built.done:
        return Failed(message="; ".join(built.failures))
    if not built.done:
        return Cancelled(message="ended before all stages were done")
    if built.unchanged:
        return Completed(name=CACHED, message=f"{len(built.states)} stages, none had work to do")
    return Completed(message="; ".join([f"{len(built.states)} stages", *built.failures]))
