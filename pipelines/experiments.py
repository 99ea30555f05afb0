"""DVC experiments out of runs: overrides before, the record afterwards, the workspace as it was in the end."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from ruamel.yaml import YAML

from faceline.files import atomic_file
from faceline.params import PARAMS
from pipelines.children import Say
from pipelines.project import DVC, PYTHON, Project, ProjectError, author

SNAPSHOT = ".dvc/tmp/pipelines-snapshot"  # the commits of a workspace before a series of experiments, and of its HEAD
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
def untouched(project: Project) -> Iterator[Callable[[], None]]:
    """Give back what experiments change, params.yaml and what stages make, whatever happens in the block.

    The block is given what does so, for between two experiments. A run that is killed in its block leaves the
    snapshot behind, for `give_back`.
    """
    path, snapshot = project.folder / SNAPSHOT, snapshot_of(project)
    with atomic_file(path) as unfinished:
        unfinished.write_text(f"{snapshot} {_head(project)}", encoding="utf-8")
    back = partial(restore, project, snapshot)
    back()
    try:
        yield back
    finally:
        project.children.stop()
        back()
        path.unlink()


def was_killed(project: Project) -> bool:
    """Whether a run was killed in `untouched` and its workspace is not given back yet."""
    return (project.folder / SNAPSHOT).exists()


def give_back(project: Project, say: Say) -> None:
    """Give back the workspace of a run that was killed in `untouched`, and keep what was changed since as a stash.

    Not where HEAD has moved since: it would undo what was committed. Either is said.
    """
    if not was_killed(project):
        return
    path = project.folder / SNAPSHOT
    snapshot, _, head = path.read_text(encoding="utf-8").partition(" ")
    if head != _head(project):
        seen = f"`git diff {head[:12]} {PARAMS}` shows what it left and what was changed since"
        said = f"HEAD has moved since, so its snapshot {snapshot[:12]} is dropped; {seen}"
    elif not _holds(project, snapshot):
        said = f"git has let go of its snapshot {snapshot[:12]}, so the workspace stays as it is"
    else:
        said = "its workspace is given back"
        if changed := project.git(*author(project), "stash", "create"):
            project.git("stash", "store", "--message", KEPT, changed)
            said += f", and what was here is kept: `git stash list`, {KEPT}"
        restore(project, snapshot)
    path.unlink()
    say(f"a run was killed here; {said}")


def snapshot_of(project: Project) -> str:
    """A commit with the files of git as they are now, on no branch."""
    if project.git("status", "--porcelain", "--untracked-files=no"):
        return project.git(*author(project), "stash", "create")
    return _head(project)


def restore(project: Project, snapshot: str) -> None:
    """Put params.yaml, dvc.lock and the outputs of stages back as a commit has them; other files are left alone."""
    project.git("restore", f"--source={snapshot}", "--worktree", "--", *_made(project, snapshot))
    project.answer(*DVC, "checkout", "--quiet", "--force", "--allow-missing")


def _holds(project: Project, commit: str) -> bool:
    """Whether git still has a commit that no branch leads to; it drops those in time."""
    try:
        project.git("cat-file", "-e", f"{commit}^{{commit}}")
    except ProjectError:
        return False
    return True


def _head(project: Project) -> str:
    return project.git("rev-parse", "HEAD")


def _made(project: Project, snapshot: str) -> list[str]:
    """The files of a commit that experiments change: what they override and, of what stages make, what git keeps."""

    def there(paths: Sequence[str]) -> list[str]:
        return project.git("ls-tree", "-r", "--name-only", "-z", snapshot, "--", *paths).rstrip("\0").split("\0")

    known = there(CHANGED)
    if LOCK not in known:
        return known
    stages = YAML(typ="safe").load(project.git("show", f"{snapshot}:{LOCK}"))["stages"]
    return there([*CHANGED, *(out["path"] for stage in stages.values() for out in stage.get("outs", ()))])
