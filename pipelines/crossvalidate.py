"""The flow `crossvalidate`: k-fold cross-validation of the chosen recipe, a task run a fold.

The folds are trained by the program of the stage `train`, on shards that `faceline.crossvalidate` makes of those that
passed their gate. No stage of dvc.yaml depends on the result, so `dvc repro` takes no longer for it.
"""

import csv
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from pipelines import place, reports
from pipelines.building import CACHED, Build, build
from pipelines.children import Say, StoppedError
from pipelines.place import BusyError, WhenBusy
from pipelines.project import Project, ProjectError, read_json
from pipelines.rebuild import final

DATA_READY = "gate@shard"  # what is divided into folds has passed here
STEPS, TRAIN = "faceline.crossvalidate", "stages.train"  # programs
STORE = "data/store/train"  # of checkpoints, as for the stage
PLAN = Path("data/store/crossvalidate/plan.json")  # what the first step leaves
METRICS = Path("data/crossvalidate/metrics.csv")  # what the last one leaves: a row a metric
REPORT = "report"  # the stage that shows the result


@flow(persist_result=False)
def crossvalidate(folder: Path = Path(), when_busy: WhenBusy = "wait") -> State:
    """Train the recipe of params.yaml on all folds but one, for each fold, and judge it on that one.

    Finished folds are kept in data/store/crossvalidate and an unfinished one goes on at its last epoch, so a run goes
    on where another was ended. It leaves data/crossvalidate: predictions, metrics and suspect labels; and the report,
    where there is one, shows them.

    Args:
        folder: The project.
        when_busy: What to do while another run works in the folder.
    """
    say = get_run_logger().info
    try:
        with place.opened(folder, f"run {runtime.flow_run.name}", when_busy, say) as project:
            built = build(project, [DATA_READY], Build())
            if not built.done:
                return final(built)
            project.python(STEPS, "prepare", say=say)
            folds = read_json(project.folder / PLAN)["folds"]
            states = run_folds(project, folds)
            if not states[-1].is_completed():
                return (Failed if states[-1].is_failed() else Cancelled)(message=states[-1].message)
            project.python(STEPS, "conclude", say=say)
            publish(project)
            if (project.folder / reports.REPORT).exists():
                renew_report(project, say)
    except BusyError as busy:
        return Cancelled(message=str(busy))
    except StoppedError:
        return Cancelled(message="ended with the run")
    except ProjectError as error:
        return Failed(message=str(error))
    kept = sum(state.name == CACHED for state in states)
    return Completed(message=f"{len(states)} folds, {kept} of them done before; see {METRICS.parent}")


def renew_report(project: Project, say: Say) -> None:
    """Make the report once more, with the folds in it, unless what else it shows is older than what is chosen."""
    old = [stage.name for stage in project.stages([REPORT]) if stage.changed and stage.name != REPORT]
    if old:
        say(f"the report stays as it is, since {', '.join(old)} changed; a rebuild makes it anew, with the folds in it")
    else:
        project.dvc("repro", "--force", "--single-item", REPORT, say=say)


def run_folds(project: Project, folds: list[dict[str, Any]]) -> list[State]:
    """The states of the folds one after another, up to the first that is not completed."""
    progress = create_progress_artifact(progress=0.0, key="progress", description=f"{len(folds)} folds")
    states: list[State] = []
    for entry in folds:
        named = run_fold.with_options(name="fold", task_run_name=f"fold-{entry['fold']}")
        states.append(named(project, entry, return_state=True))
        if not states[-1].is_completed():
            break
        update_progress_artifact(progress, progress=100 * len(states) / len(folds))
    return states


@task(cache_policy=NO_CACHE, persist_result=False)
def run_fold(project: Project, entry: dict[str, Any]) -> State:
    """Train without one fold and have its rows answered; Cached where they are already."""
    if (project.folder / entry["answers"]).exists():
        return Completed(name=CACHED, message="answered before")
    say = get_run_logger().info
    options = {"shards": entry["shards"], "gates": entry["gates"], "history": entry["history"], "store": STORE}
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    try:
        if not (project.folder / entry["bundle"]).exists():
            project.python(TRAIN, *given, "--output", entry["bundle"], say=say)
        project.python(STEPS, "answer", str(entry["fold"]), say=say)
    except StoppedError:
        return Cancelled(message="ended with the run")
    except ProjectError as error:
        return Failed(message=f"fold {entry['fold']}: {error}")
    return Completed(message=", ".join(f"{rows} rows {subset}" for subset, rows in entry["rows"].items()))


def publish(project: Project) -> None:
    """The metrics as a table: each fold, mean and standard deviation."""
    with (project.folder / METRICS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    create_table_artifact(key="crossvalidation", table=rows, description="Metrics on the rows of each fold")
