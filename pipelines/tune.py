"""The flow `tune`: search for better settings of a recipe with Optuna, each finished trial a DVC experiment.

Settings are judged by validation metrics of training alone; the test subset is not looked at. A trial that does worse
than others did at the same epoch is pruned: its training is ended, so it exits non-zero and DVC keeps nothing of it.
"""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field
from ruamel.yaml import YAML

from faceline.errors import SettingsError
from faceline.params import PARAMS, read_settings, section
from pipelines import experiments, place
from pipelines.building import Build, build
from pipelines.children import StoppedError
from pipelines.place import BusyError, WhenBusy
from pipelines.project import Project, ProjectError, digest
from pipelines.rebuild import final
from pipelines.space import Choice, Range, TuneSettings, changed, require_space, write_recipe

DATA_READY = "gate@shard"  # what every trial trains on has passed here
DATA = "shard"  # the stage whose outputs these are
TRAIN = "train"
STORE = Path("data/store/train")  # where training keeps, beside its checkpoints, the epochs so far
STUDIES = Path("data/store/tune")
HISTORY = Path("models/history.csv")
MOST_FAILURES = 3  # in a row; the reason is then hardly one of the values tried
LOSS = "val_loss"  # training keeps the weights of the epoch with the lowest


@flow(persist_result=False)
def tune(
    trials: Annotated[int, Field(ge=1)] | None = None, folder: Path = Path(), when_busy: WhenBusy = "wait"
) -> State:
    """Search the space `tune.space` of params.yaml; the best settings found become a recipe there.

    The study lies in data/store/tune, so a run goes on where another was ended. Apart from the new recipe the
    workspace is afterwards as it was before.

    Args:
        trials: How many trials the study shall have in all, instead of `tune.trials` in params.yaml.
        folder: The project.
        when_busy: What to do while another run works in the folder.
    """
    folder = folder.resolve()
    params = folder / PARAMS
    say = get_run_logger().info
    try:
        with place.opened(folder, f"run {runtime.flow_run.name}", when_busy, say) as project:
            with experiments.untouched(project) as restore:
                # Only now: another run may have overridden settings until here.
                settings = read_settings(TuneSettings, "tune", path=params)
                base = section("recipes", settings.recipe, path=params)
                require_space(settings, base)
                require_own_recipe(project, settings)
                built = build(project, [DATA_READY], Build())
                if not built.done:
                    return final(built)
                study = open_study(project, settings, base)
                search = Search(project, settings, base, study)
                search.run(settings.trials if trials is None else trials, restore)
            publish(study, settings)
            return conclude(project, settings, base, study)
    except BusyError as busy:
        return Cancelled(message=str(busy))
    except StoppedError:
        return Cancelled(message="ended with the run")
    except (ProjectError, SettingsError) as error:
        return Failed(message=str(error))


def database(project: Project, settings: TuneSettings) -> Path:
    """Where the study lies."""
    return project.folder / STUDIES / f"{settings.study}.db"


def require_own_recipe(project: Project, settings: TuneSettings) -> None:
    """Refuse a study whose trials and result would replace a recipe that it has not made, before any work."""
    recipes = section("recipes", path=project.folder / PARAMS)
    foreign = settings.study in recipes and not database(project, settings).exists()
    if foreign or settings.study == settings.recipe:
        raise SettingsError(
            f"{PARAMS}: recipes.{settings.study} is there and not made by the study {settings.study}, which would "
            "replace it; give tune.study another name, or the recipe"
        )


def open_study(project: Project, settings: TuneSettings, base: Mapping[str, Any]) -> optuna.Study:
    """The study on disk, new or as far as it is.

    Raises:
        SettingsError: it was begun with other settings or on other data, so that its trials cannot be compared.
    """
    path = database(project, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=settings.study,
        storage=f"sqlite:///{path}",
        direction=settings.direction,
        pruner=optuna.pruners.MedianPruner(settings.startup_trials, settings.warmup_epochs),
        load_if_exists=True,
    )
    # What the sampler drew before is not in the database: with the same seed it would draw that once more.
    study.sampler = optuna.samplers.TPESampler(seed=settings.seed + len(study.get_trials(deepcopy=False)))
    lock = YAML(typ="safe").load(project.folder / "dvc.lock")
    told = settings.model_dump(mode="json", include={"metric", "direction", "space"})
    basis = digest([told, base, project.chosen()[0], lock["stages"][DATA]["outs"]])
    if study.user_attrs.setdefault("basis", basis) != basis:
        raise SettingsError(
            f"{PARAMS}: the study {settings.study} was begun with another space, recipe or other data; "
            f"give tune.study another name, or delete {path} and recipes.{settings.study}"
        )
    study.set_user_attr("basis", basis)
    for trial in study.get_trials(states=[TrialState.RUNNING]):  # of a run that was killed
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return study


@dataclass(frozen=True)
class Search:
    """A study at work on a project."""

    project: Project
    settings: TuneSettings
    base: Mapping[str, Any]
    study: optuna.Study

    def run(self, trials: int, restore: Any) -> None:
        """Try settings until the study has so many trials that were finished or pruned."""
        progress = create_progress_artifact(progress=0.0, key="progress", description=f"{trials} trials")
        failures = 0
        while (done := len(finished(self.study))) < trials:
            update_progress_artifact(progress, progress=100 * done / trials)
            restore()
            trial = self.study.ask()
            values = {name: space.suggest(trial, name) for name, space in self.settings.space.items()}
            named = try_settings.with_options(name="trial", task_run_name=f"trial-{trial.number:04}")
            state = named(self, trial, values, return_state=True)
            if state.is_cancelled():
                raise StoppedError
            failures = failures + 1 if state.is_failed() else 0
            if failures == MOST_FAILURES:
                raise ProjectError(f"{failures} trials in a row have failed; the last, {trial.number}: {state.message}")
        update_progress_artifact(progress, progress=100.0)

    def attempt(self, trial: Trial, values: Mapping[str, Any]) -> float:
        """Train with these settings and record the experiment; the metric at the epoch whose weights are kept."""
        write_recipe(self.project.folder / PARAMS, self.settings.study, changed(self.base, values), choose=True)
        watch = Watch(self.project.folder / STORE, self.settings.metric, trial)
        try:
            self.project.dvc("repro", TRAIN, say=watch.listen)
        except optuna.TrialPruned:
            watch.forget()
            raise
        value = metric_kept(read_history(self.project.folder / HISTORY), self.settings.metric)
        experiments.save(self.project, f"{self.settings.study}-{trial.number:04}", [TRAIN], get_run_logger().info)
        return value


@task(cache_policy=NO_CACHE, persist_result=False)
def try_settings(search: Search, trial: Trial, values: dict[str, Any]) -> State:
    """One trial: Completed, Pruned or Failed."""
    told = ", ".join(f"{name} {value}" for name, value in values.items())
    get_run_logger().info("%s", told)
    try:
        value = search.attempt(trial, values)
    except StoppedError:
        return Cancelled(message="ended with the run")
    except optuna.TrialPruned as pruned:
        search.study.tell(trial, state=TrialState.PRUNED)
        return Completed(name="Pruned", message=str(pruned))
    except ProjectError as error:
        search.study.tell(trial, state=TrialState.FAIL)
        return Failed(message=str(error))
    search.study.tell(trial, value)
    return Completed(message=f"{search.settings.metric} {value:g} with {told}")


class Watch:
    """Looks at a training's epochs whenever it says something, and prunes it where others did better by then."""

    def __init__(self, store: Path, metric: str, trial: Trial) -> None:
        self.store, self.metric, self.trial = store, metric, trial
        self.before = {path: path.stat().st_mtime_ns for path in store.glob("*/*.json")}
        self.told: Counter[Path] = Counter()  # epochs, by the file of their network

    def listen(self, line: str) -> None:
        """A line of output; TrialPruned ends the training."""
        get_run_logger().info("%s", line)
        for path in self._epochs():
            for row in json.loads(path.read_text(encoding="utf-8"))[self.told[path] :]:
                self.told[path] += 1
                if row.get(self.metric) is not None:
                    self.trial.report(row[self.metric], step=row["epoch"] - 1)
                    if self.trial.should_prune():
                        raise optuna.TrialPruned(f"{self.metric} {row[self.metric]:g} at epoch {row['epoch']}")

    def forget(self) -> None:
        """Remove the checkpoints of the training."""
        for folder in {path.parent for path in self._epochs()}:
            shutil.rmtree(folder, ignore_errors=True)

    def _epochs(self) -> list[Path]:
        """What this training writes: anew, or where it goes on from a run that was killed."""
        found = self.store.glob("*/*.json")
        return sorted(path for path in found if path.stat().st_mtime_ns != self.before.get(path))


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that came to an end of their own, or were pruned."""
    trials: list[FrozenTrial] = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE, TrialState.PRUNED])
    return trials


def read_history(path: Path) -> list[dict[str, str]]:
    """The epochs of a training, as text."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def metric_kept(history: list[dict[str, str]], metric: str) -> float:
    """The metric at the epoch with the lowest validation loss, whose weights training keeps."""
    columns = list(history[0]) if history else []
    if metric not in columns:
        raise ProjectError(f"{HISTORY} has no column {metric} (tune.metric); it has {', '.join(columns)}")
    rows = [row for row in history if row[metric]]
    return float(min(rows, key=lambda row: float(row[LOSS]))[metric])


def publish(study: optuna.Study, settings: TuneSettings) -> None:
    """The trials as a table: the best first, the pruned ones last."""
    sign = 1 if settings.direction == "minimize" else -1
    trials = sorted(
        finished(study), key=lambda t: (t.state is not TrialState.COMPLETE, sign * (t.value or 0), t.number)
    )
    rows = [
        {"trial": trial.number, settings.metric: trial.value, "state": trial.state.name.lower(), **trial.params}
        | {"experiment": f"{settings.study}-{trial.number:04}" if trial.state is TrialState.COMPLETE else ""}
        for trial in trials
    ]
    create_table_artifact(key="trials", table=rows, description=f"The study `{settings.study}`")


def conclude(project: Project, settings: TuneSettings, base: Mapping[str, Any], study: optuna.Study) -> State:
    """Write the best settings as a recipe."""
    best = study.best_trial
    values = {name: _value(settings.space[name], value) for name, value in best.params.items()}
    write_recipe(project.folder / PARAMS, settings.study, changed(base, values), choose=False)
    pruned = sum(trial.state is TrialState.PRUNED for trial in finished(study))
    return Completed(
        message=f"best of {len(finished(study))} trials ({pruned} pruned): {settings.metric} {best.value:g} in trial "
        f"{best.number}; now recipes.{settings.study} in {PARAMS}, run it with recipe={settings.study}"
    )


def _value(space: Range | Choice, value: Any) -> Any:
    return json.loads(value) if isinstance(space, Choice) else value
