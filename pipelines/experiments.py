"""DVC experiments out of runs: overrides before, the record afterwards, the workspace as it was in the end."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from ruamel.yaml import YAML

from faceline.params import PARAMS
from pipelines import place
from pipelines.children import Say
from pipelines.project import DVC, PYTHON, Project

SNAPSHOT = ".dvc/tmp/pipelines-snapshot"  # the commit that holds a workspace as it was before a series of experiments
KEPT = "before a killed run's workspace was given back"  # the message of the stash
LOCK = "dvc.lock"
CHANGED = (str(PARAMS), LOCK)


def overrides(dataset: str | None, recipe: str | None, changes: Sequence[str]) -> list[str]:
    """The overrides of a run as `-S` of `dvc exp run` takes them."""
    named = {"dataset": dataset, "recipe": recipe}
    return [f"{key}={value}" for key, value in named.items() if value is not None] + list(changes)


def override(project: Project, changes: Sequence[str]) -> None:
    """Change params.yaml; ProjectError tells a key that it lacks."""
    if changes:
        project.answer(*PYTHON, "-m", "pipelines.dvc_api", "override", "--", *changes)


def save(project: Project, name: str, stages: Sequence[str], say: Say) -> None:
    """Record the workspace as a DVC experiment, in place of one of that name; `stages` are those that are done."""
    project.dvc("exp", "save", "--force", "--name", name, *stages, say=say)


@contextmanager
def untouched(project: Project, say: Say) -> Iterator[Callable[[], None]]:
    """Give back what experiments change, params.yaml and what stages make, whatever happens in the block.

    The block is given what does so, for between two experiments. A run that was killed in its block left the
    snapshot behind: the next one gives back that one's workspace first, and keeps what was changed since as a stash.
    """
    path = project.folder / SNAPSHOT
    if not path.exists():
        path.write_text(snapshot_of(project), encoding="utf-8")
    elif changed := project.git(*place.author(project), "stash", "create"):
        project.git("stash", "store", "--message", KEPT, changed)
        say(f"a run was killed here; its workspace is given back, and what was here is kept: `git stash list`, {KEPT}")
    snapshot = path.read_text(encoding="utf-8").strip()
    back = partial(restore, project, snapshot)
    back()
    try:
        yield back
    finally:
        project.children.stop()
        back()
        path.unlink()


def snapshot_of(project: Project) -> str:
    """A commit with the files of git as they are now, on no branch."""
    if project.git("status", "--porcelain", "--untracked-files=no"):
        return project.git(*place.author(project), "stash", "create")
    return project.git("rev-parse", "HEAD")


def restore(project: Project, snapshot: str) -> None:
    """Put params.yaml, dvc.lock and the outputs of stages back as a commit has them; other files are left alone."""
    project.git("restore", f"--source={snapshot}", "--worktree", "--", *_made(project, snapshot))
    project.answer(*DVC, "checkout", "--quiet", "--force", "--allow-missing")


def _made(project: Project, snapshot: str) -> list[str]:
    """The files of a commit that experiments change: what they override and, of what stages make, what git keeps."""

    def there(paths: Sequence[str]) -> list[str]:
        return project.git("ls-tree", "-r", "--name-only", "-z", snapshot, "--", *paths).rstrip("\0").split("\0")

    known = there(CHANGED)
    if LOCK not in known:
        return known
    stages = YAML(typ="safe").load(project.git("show", f"{snapshot}:{LOCK}"))["stages"]
    return there([*CHANGED, *(out["path"] for stage in stages.values() for out in stage.get("outs", ()))])
