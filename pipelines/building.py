"""Running a project's stages as Prefect tasks: in DVC's order, each as soon as what it waits for is done."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, as_completed
from prefect.states import Cancelled, Completed, Failed

from pipelines import artifacts
from pipelines.children import StoppedError
from pipelines.project import Outcome, Project, Stage, StageError

CACHED = "Cached"  # the state of a stage that took no work
HELD = "NotReady"  # Prefect's name of the state of a task whose upstream failed


@dataclass(frozen=True)
class Build:
    """How to build.

    Attributes:
        force: run stages also where nothing changed.
        parallel: how many independent stages may run side by side.
        retries: how often a stage that fails is tried again, `delay` seconds later; a gate never is.
        tolerated: gates that may fail without holding what comes after them.
    """

    force: bool = False
    parallel: int = 1
    retries: int = 1
    delay: float = 10.0
    tolerated: frozenset[str] = frozenset()


@dataclass
class Built:
    """What became of each stage: its last state."""

    stages: list[Stage]
    tolerated: frozenset[str]
    states: dict[str, State] = field(default_factory=dict)

    @property
    def failures(self) -> list[str]:
        """The messages of stages that failed, tolerated ones included."""
        return [state.message or "" for state in self.states.values() if state.is_failed()]

    @property
    def completed(self) -> list[str]:
        """The stages that are up to date."""
        return [name for name, state in self.states.items() if state.is_completed()]

    @property
    def done(self) -> bool:
        """Whether every stage is, or failed and may."""
        return all(state.is_completed() or self.tolerates(name) for name, state in self.states.items())

    @property
    def unchanged(self) -> bool:
        """Whether no stage took any work."""
        return all(state.name == CACHED for state in self.states.values())

    def tolerates(self, name: str) -> bool:
        """Whether a stage failed and may."""
        return name in self.tolerated and self.states[name].is_failed()

    def told(self) -> dict[str, tuple[str, str]]:
        """Name and message of each stage's state, in order."""
        states = {stage.name: self.states[stage.name] for stage in self.stages}
        return {
            name: ("Not run", "") if state.name == HELD else (str(state.name), state.message or "")
            for name, state in states.items()
        }


@task(cache_policy=NO_CACHE, persist_result=False)
def run_stage(project: Project, stage: Stage, *, needed: bool, force: bool) -> State:
    """Bring one stage up to date; Cached where that took no work."""
    outcome = Outcome.SAME
    try:
        if needed:
            outcome = project.reproduce(stage, _tell, force=force)
    except StoppedError:
        return Cancelled(message="ended with the run")
    except StageError as error:
        return Failed(message=str(error))  # which Prefect tries again as if it had been raised, without a traceback
    finally:
        artifacts.publish_gate(stage)
    return Completed(name=None if outcome is Outcome.RAN else CACHED, message=outcome.value)


def build(project: Project, targets: Sequence[str], how: Build) -> Built:
    """Run the stages that lead to `targets` (all of them without), within a flow."""
    stages = project.stages(targets)
    changed = [stage.name for stage in stages if stage.changed]
    get_run_logger().info("%d stages; changed: %s", len(stages), ", ".join(changed) or "none")
    work = _Work(project, how, Built(stages, how.tolerated))
    work.run()
    return work.built


class _Work:
    """The stages that wait, run and are done."""

    def __init__(self, project: Project, how: Build, built: Built) -> None:
        self.project, self.how, self.built = project, how, built
        self.waiting = {stage.name: stage for stage in built.stages}
        self.running: dict[PrefectFuture[State], str] = {}
        self.futures: dict[str, PrefectFuture[State]] = {}

    def run(self) -> None:
        """Run what can be run, then show what a failure held."""
        total = len(self.waiting)
        progress = create_progress_artifact(progress=0.0, key="progress", description=f"{total} stages")
        while True:
            for stage in self._ready()[: self.how.parallel - len(self.running)]:
                self.running[self._submit(stage)] = stage.name
            if not self.running:
                break
            done = next(as_completed(list(self.running)))
            done.wait()  # the thread has ended; only now does the future know its state
            self.built.states[self.running.pop(done)] = done.state
            update_progress_artifact(progress, progress=100 * len(self.built.states) / total)
        for stage in list(self.waiting.values()):
            held = self._submit(stage)
            held.wait()
            self.built.states[stage.name] = held.state

    def _ready(self) -> list[Stage]:
        return [stage for stage in self.waiting.values() if all(map(self._passed, stage.after))]

    def _passed(self, name: str) -> bool:
        """Whether what waits for a stage may start; one that is no part of this run holds nothing."""
        if name in self.waiting or name in self.running.values():
            return False
        return name not in self.built.states or self.built.states[name].is_completed() or self.built.tolerates(name)

    def _submit(self, stage: Stage) -> PrefectFuture[State]:
        del self.waiting[stage.name]
        after = [name for name in stage.after if name in self.futures and not self.built.tolerates(name)]
        touched = any(self.built.states[name].message != Outcome.SAME.value for name in after)
        tried = run_stage.with_options(
            name=stage.name,
            task_run_name=stage.name,
            description=stage.about,
            tags=["gate" if stage.is_gate else "stage"],
            retries=0 if stage.is_gate else self.how.retries,  # its table is no better the second time
            retry_delay_seconds=self.how.delay,
        )
        needed = self.how.force or stage.changed or touched
        waits = [self.futures[name] for name in after]
        future = tried.submit(self.project, stage, needed=needed, force=self.how.force, wait_for=waits)
        self.futures[stage.name] = future
        return future


def _tell(line: str) -> None:
    """Log a line of a stage's output in its task run."""
    get_run_logger().log(logging.ERROR if line.startswith(("ERROR", "Error")) else logging.INFO, "%s", line)
