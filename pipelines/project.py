"""A folder with a DVC pipeline, and DVC and git as programs in it."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.children import Children, Say, environment

PYTHON = (sys.executable,)
DVC = (*PYTHON, "-m", "dvc", "--wait-for-lock")  # waits where another DVC is at work, instead of failing
AUTHOR = ("-c", "user.name=faceline pipelines", "-c", "user.email=pipelines@localhost")  # where git knows no other
HERE = Path(__file__).parent.parent  # from where `pipelines` is imported
SAME = re.compile(r"^Stage '.+' didn't change, skipping")
RESTORED = re.compile(r"^Stage '.+' is cached - skipping run")
GATE = "gate@"  # how the names of gates begin
WEIGHTS = Path("data/weights")  # pretrained ones, which recipes name
KEPT = 30  # last lines of a program that failed, to tell why


class Outcome(Enum):
    """What became of a stage, and why it took no work."""

    RAN = "ran"
    SAME = "nothing that it depends on has changed"
    RESTORED = "restored from the run-cache"


class ProjectError(Exception):
    """A program that failed, or a project that cannot be used; one line for the user."""


class StageError(ProjectError):
    """A stage that failed."""


class GateError(StageError):
    """A gate that stopped its table; names expectations and rows."""


@dataclass(frozen=True)
class Stage:
    """A stage as DVC sees it now; paths are absolute."""

    name: str
    after: tuple[str, ...]  # the stages whose outputs it reads
    changed: bool  # whether `dvc status` has something to say of it
    about: str
    deps: tuple[Path, ...]
    outs: tuple[Path, ...]
    metrics: tuple[Path, ...]

    @property
    def is_gate(self) -> bool:
        """Whether it judges a table: it is never tried again, and its failure says why."""
        return self.name.startswith(GATE)


@dataclass(frozen=True)
class Project:
    """A pipeline at `folder`; `children` are the programs that run for it."""

    folder: Path
    children: Children = field(default_factory=Children)

    def stages(self, targets: Sequence[str] = ()) -> list[Stage]:
        """The stages that `dvc repro TARGETS` looks at, in order; one status for all of them."""
        told = json.loads(self.answer(*PYTHON, "-m", "pipelines.dvc_api", "plan", "--", *targets))
        return [_stage(name, entry) for name, entry in told.items()]

    def reproduce(self, stage: Stage, say: Say, *, force: bool = False) -> Outcome:
        """Bring one stage up to date.

        Raises:
            GateError: its gate stopped a table; StageError: it failed otherwise.
        """
        lines: deque[str] = deque(maxlen=KEPT)
        outcome = Outcome.RAN

        def listen(line: str) -> None:
            nonlocal outcome
            outcome = Outcome.SAME if SAME.match(line) else Outcome.RESTORED if RESTORED.match(line) else outcome
            lines.append(line)
            say(line)

        options = ["--single-item", *(["--force"] if force else [])]
        if self.children.run([*DVC, "repro", *options, stage.name], self.folder, listen):
            raise _failure(stage, lines)
        return outcome

    def dvc(self, *arguments: str, say: Say) -> None:
        """Run DVC, telling its lines.

        Raises:
            ProjectError: it failed; its last line of error is the message.
        """
        self._run(f"dvc {arguments[0]}", [*DVC, *arguments], say)

    def python(self, module: str, *arguments: str, say: Say) -> None:
        """Run a program of the project, `python -m MODULE`, as `dvc` does."""
        self._run(module, [*PYTHON, "-m", module, *arguments], say)

    def _run(self, name: str, command: Sequence[str], say: Say) -> None:
        lines: deque[str] = deque(maxlen=KEPT)

        def listen(line: str) -> None:
            lines.append(line)
            say(line)

        if self.children.run(command, self.folder, listen):
            raise ProjectError(f"{name}: {_reason(lines)}")

    def git(self, *arguments: str) -> str:
        """What git prints; ProjectError says why it failed."""
        return self.answer("git", *arguments)

    def answer(self, *command: str) -> str:
        """What a short command prints on stdout, without its last newline; ProjectError says why it failed."""
        path = {"PYTHONPATH": str(HERE)}  # of a project elsewhere: the `pipelines` of this one
        done = subprocess.run(
            command, cwd=self.folder, env={**environment(), **path}, text=True, capture_output=True, check=False
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            reason = _reason(lines) or f"{' '.join(command)} exited with {done.returncode}"
            raise ProjectError(f"{self.folder}: {reason}")
        return done.stdout.rstrip("\n")

    def metrics(self) -> dict[str, dict[str, Any]]:
        """The content of each metrics file but the gates' verdicts, by its path."""
        found = json.loads(self.answer(*DVC, "metrics", "show", "--json"))
        files = found.get("", {}).get("data", {})
        read = {path: entry["data"] for path, entry in files.items() if isinstance(entry.get("data"), dict)}
        return {path: content for path, content in read.items() if "expectations_total" not in content}

    def raw(self, source: "Project | None" = None) -> list[Path]:
        """What is read inside the folder and neither a stage nor git provides: raw data, weights, a recipe's start.

        They are there or missing. Of a folder that git has in part, as that of the teachers, it is the other files
        there, in `source` where this is a clone of it. Files, since DVC does not look into a folder behind a link.
        """
        stages = self.stages()
        made = {out for stage in stages for out in stage.outs}
        read = {dep for stage in stages for dep in stage.deps} | {self.folder / WEIGHTS, *self._start()}
        inside = [path for path in sorted(read) if path.is_relative_to(self.folder)]
        wanted = [path for path in inside if not any(out in (path, *path.parents) for out in made)]
        known = set(self.git("ls-files").splitlines())
        names = {path.relative_to(self.folder).as_posix(): path for path in wanted}
        parted = [name for name in names if _tracked(name, known)]
        beside = {self.folder / name for name in (source or self)._untracked(parted)}
        return sorted({names[name] for name in names.keys() - set(parted)} | beside)

    def chosen(self) -> tuple[str, str]:
        """The names of dataset and recipe in params.yaml; empty where it names none."""
        params = self._params()
        return str(params.get("dataset", "")), str(params.get("recipe", ""))

    def _params(self) -> dict[str, Any]:
        return YAML(typ="safe").load(self.folder / "params.yaml") or {}

    def _start(self) -> list[Path]:
        """The bundle that the chosen recipe starts from, if it does."""
        recipes = self._params().get("recipes") or {}
        start = (recipes.get(self.chosen()[1]) or {}).get("start")
        return [Path(os.path.normpath(self.folder / start))] if start else []

    def _untracked(self, names: Sequence[str]) -> list[str]:
        """The files below these that git does not have, ignored or not."""
        told = self.git("--literal-pathspecs", "ls-files", "--others", "-z", "--", *names) if names else ""
        return told.split("\0")[:-1]


def author(project: Project) -> tuple[str, ...]:
    """Options of git that name an author where it is configured with none."""
    try:
        project.git("config", "user.email")
    except ProjectError:
        return AUTHOR
    return ()


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None where there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def digest(value: Any) -> str:
    """A digest of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def verdict(stage: Stage) -> dict[str, Any] | None:
    """The report that a gate left, also when it failed."""
    for path in stage.metrics:
        report = read_json(path)
        if isinstance(report, dict) and isinstance(report.get("expectations"), list):
            return report
    return None


def _tracked(path: str, known: set[str]) -> bool:
    return path in known or any(file.startswith(f"{path}/") for file in known)


def _stage(name: str, told: dict[str, Any]) -> Stage:
    paths = {key: tuple(map(Path, told[key])) for key in ("deps", "outs", "metrics")}
    return Stage(name, tuple(told["after"]), told["changed"], told["about"], **paths)


def _failure(stage: Stage, lines: Sequence[str]) -> StageError:
    report = verdict(stage) if stage.is_gate else None
    if report is not None and not report.get("success"):
        return GateError(f"{stage.name}: {faults(report)}")
    return StageError(f"{stage.name}: {_reason(lines)}")


def faults(report: dict[str, Any]) -> str:
    """The expectations that were not met, each with example rows, on one line."""
    told = []
    for found in report["expectations"]:
        if not found["success"]:
            place = f"{found['table']}: {found['column']}" if found.get("column") else found["table"]
            rows = "; ".join(", ".join(f"{k} {v}" for k, v in row.items()) for row in found["examples"][:3])
            told.append(f"{found['expectation']} ({place})" + (f", as in {rows}" if rows else ""))
    return f"{len(told)} of {len(report['expectations'])} expectations not met: " + " | ".join(told)


def _reason(lines: Sequence[str]) -> str:
    """The line of a failed program that says why: the last error of a stage, else DVC's, else the last line."""
    for start in ("Error: ", "ERROR: ", "fatal: ", "error: ", ""):
        for line in reversed(lines):
            if line.startswith(start):
                return line.removeprefix(start)
    return ""
