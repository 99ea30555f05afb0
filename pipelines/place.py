"""Where a run works: in the folder it is given, or in a clone of its own at a git ref, one run at a time."""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from configobj import ConfigObj

from pipelines import experiments
from pipelines.children import Say
from pipelines.project import DVC, Project, ProjectError, author

WhenBusy = Literal["wait", "cancel"]
LOCK = Path(".dvc/tmp/pipelines.lock")
CLONES = Path(".dvc/tmp/pipelines")  # of the project whose clones they are; git and DVC ignore it
# What a clone has of its source: its branches, and its tags, so that no version is one that the source does not know.
REFS = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
EXPERIMENTS = "refs/exps/*/*"  # where DVC keeps experiments by name, below digests of the commits they began at
EXCLUDED = Path(".git/info/exclude")  # what git ignores in this repository alone
POLL = 1.0  # seconds between two looks at a lock


class BusyError(Exception):
    """Another run works in the folder, or was killed there."""


def require_clone(ref: str | None, branch: str | None) -> None:
    """Refuse a branch where there is no ref to work at, before any work: it would get nothing."""
    if branch and not ref:
        raise ProjectError(f"only a clone leaves its result on a branch ({branch}): name the ref to work at, too")


@contextmanager
def opened(
    folder: Path,
    holder: str,
    when_busy: WhenBusy,
    say: Say,
    *,
    ref: str | None = None,
    name: str = "clone",
    only_looks: bool = False,
) -> Iterator[Project]:
    """The project in `folder` or its clone at `ref`, for this run alone; its programs are ended with the block.

    What a killed run has left of its experiments in the folder is given back first, but not to a run that only looks:
    somebody may be at work there.

    Args:
        folder: the project.
        holder: the run's name, which others that want the place are told.
        when_busy: whether to wait for another run that works there, or to raise BusyError.
        say: is told a line about what happens.
        ref: of git; with it the place is a clone called `name`, which no run shares.
        name: of the clone.
        only_looks: whether the run changes nothing in the folder.

    Raises:
        BusyError: another run works there, or what a killed one has left is in the way of one that only looks.
        ProjectError: the folder holds no DVC repository with a dvc.yaml, or git does not know the ref.
    """
    folder = folder.resolve()
    for needed in (".dvc", ".git", "dvc.yaml"):
        if not (folder / needed).exists():
            raise ProjectError(f"{folder} has no {needed}; give the root of a DVC project in git")
    where = folder / CLONES / re.sub(r"[^A-Za-z0-9._-]+", "-", name) if ref else folder
    lock = where.with_name(f"{where.name}.lock") if ref else folder / LOCK
    with _locked(lock, where, holder, when_busy, say):
        project = Project(where)
        try:
            if ref:
                clone(Project(folder), project, ref, say)
            elif not only_looks:
                experiments.give_back(project, say)
            elif experiments.was_killed(project):
                raise BusyError(f"a run was killed in {where}, whose workspace the next run of another flow gives back")
            yield project
        finally:
            project.children.stop()


@contextmanager
def _locked(path: Path, where: Path, holder: str, when_busy: WhenBusy, say: Say) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        told = False
        while not _taken(file):
            file.seek(0)
            other = file.read().strip() or "another run"
            if when_busy == "cancel":
                raise BusyError(f"{other} works in {where}")
            if not told:
                say(f"waiting for {other}, which works in {where}")
                told = True
            time.sleep(POLL)
        file.truncate(0)
        file.write(f"{holder} (process {os.getpid()})")
        file.flush()
        yield  # the lock goes with the file, also when the process is killed


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def clone(origin: Project, own: Project, ref: str, say: Say) -> None:
    """Make `own` a clone of `origin` at `ref`, or bring it there; nothing in `origin` changes.

    It shares the origin's DVC cache and remotes. It is kept between runs, with what its stages store.

    Raises:
        ProjectError: git does not know the ref, nor DVC an experiment of that name, or more than one.
    """
    commit = resolved(origin, ref, say)
    if not (own.folder / ".git").exists():
        shutil.rmtree(own.folder, ignore_errors=True)
        origin.git("clone", "--quiet", "--no-checkout", str(origin.folder), str(own.folder))
    own.git("fetch", "--quiet", "--prune", "--force", "origin", commit, *REFS)
    own.git("checkout", "--quiet", "--force", "--detach", commit)
    own.git("clean", "--quiet", "-d", "--force")
    _share(origin, own)
    own.answer(*DVC, "checkout", "--quiet", "--force", "--allow-missing")
    say(f"{own.folder} is at {commit[:12]} ({ref})")


def resolved(origin: Project, ref: str, say: Say) -> str:
    """The commit that a ref or an experiment of the source names, after a look at the source's own remotes."""
    if origin.git("remote"):
        try:
            origin.git("fetch", "--quiet", "--all", "--tags")
        except ProjectError as error:
            say(f"the git remote does not answer, so what is here is used: {error}")
    try:
        return origin.git("rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    except ProjectError:
        found = sorted(set(origin.git("for-each-ref", "--format=%(objectname)", f"{EXPERIMENTS}/{ref}").splitlines()))
    if not found:
        raise ProjectError(f"{origin.folder} has no branch, tag, commit or experiment {ref}")
    if len(found) > 1:
        told = ", ".join(commit[:12] for commit in found)
        raise ProjectError(f"{origin.folder} has {len(found)} experiments called {ref}; name one by its commit: {told}")
    return found[0]


def link_raw(source: Path, project: Project, say: Say) -> None:
    """Link what is read and neither a stage nor git provides (raw data, weights) from the source into its clone.

    The clone's git ignores the links, so that no commit has them; those of another run go, as may have their originals.
    """
    source, linked = source.resolve(), []
    excluded = project.folder / EXCLUDED
    excluded.parent.mkdir(exist_ok=True)
    for line in excluded.read_text(encoding="utf-8").splitlines() if excluded.exists() else ():
        if (link := project.folder / line.removeprefix("/")).is_symlink():
            link.unlink()
    for path in project.raw(Project(source)):
        name = path.relative_to(project.folder)
        if not path.exists() and (source / name).exists():
            path.unlink(missing_ok=True)  # a link that leads nowhere
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(source / name)
            say(f"{name} is linked from {source}")
        if path.is_symlink():
            linked.append(f"/{name.as_posix()}\n")
    excluded.write_text("".join(linked), encoding="utf-8")


def commit_result(project: Project, branch: str, message: str) -> str | None:
    """Leave the state of a clone as a commit on a branch of its source; None if the branch has it already.

    The commit's parents are the branch as it was and the commit that was built, so nothing on the branch is lost.

    Raises:
        ProjectError: the source does not take it, as when the branch is checked out there.
    """
    project.git("add", "--all")
    tree, built = project.git("write-tree"), project.git("rev-parse", "HEAD")
    tip = project.git("ls-remote", "origin", f"refs/heads/{branch}").split("\t")[0]
    if tip:
        project.git("fetch", "--quiet", "origin", tip)
        if project.git("rev-parse", f"{tip}^{{tree}}") == tree:
            return None
    parents = [built] if not tip or _within(project, tip, built) else [tip, built]
    if parents == [built] and project.git("rev-parse", f"{built}^{{tree}}") == tree:
        return None
    options = [option for parent in dict.fromkeys(parents) for option in ("-p", parent)]
    commit = project.git(*author(project), "commit-tree", tree, *options, "-m", message)
    project.git("push", "--quiet", "origin", f"{commit}:refs/heads/{branch}")
    return commit


def _within(project: Project, commit: str, other: str) -> bool:
    """Whether `commit` is `other` or an ancestor of it."""
    try:
        project.git("merge-base", "--is-ancestor", commit, other)
    except ProjectError:
        return False
    return True


def _share(origin: Project, own: Project) -> None:
    """Give a clone the source's cache, and its remotes with the secrets that git does not carry.

    Paths there are relative to the folder of the file, which is another one in the clone.
    """
    local = ConfigObj(str(origin.folder / ".dvc/config.local"))
    configs = (ConfigObj(str(origin.folder / ".dvc/config")), local)  # the second goes first, as for DVC
    sections = [(name, part) for config in configs for name, part in config.items() if isinstance(part, dict)]
    for name, url in {name: part["url"] for name, part in sections if "url" in part}.items():
        if "://" not in url:
            local.setdefault(name, {})["url"] = str((origin.folder / ".dvc" / url).resolve())
    local.setdefault("cache", {})["dir"] = origin.answer(*DVC, "cache", "dir")
    local.filename = str(own.folder / ".dvc/config.local")
    local.write()
    Path(local.filename).chmod(0o600)
