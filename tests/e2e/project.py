"""A copy of the project in a folder of its own, and DVC as a user would run it there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.imports import ROOT

SHRUNKEN = {
    "sample.faces": 90,  # few enough for seconds; three of them are already more than 1 %
    "datasets.sample.gates.split.max_group": 0.05,
    "recipes.compact.epochs": 4,
    # Seventy faces teach a network nothing, so its gates may not ask for anything.
    "datasets.sample.gates.train.min_fall": 0.0,
    "datasets.sample.gates.evaluate.floors": {},
    "datasets.sample.gates.evaluate.age_mae_below_constant": 9.0,
    "datasets.sample.gates.evaluate.accuracy_above_constant": -1.0,
    "datasets.sample.gates.evaluate.slices.min_gender_accuracy": 0.0,
    "datasets.sample.gates.evaluate.slices.max_age_mae": 116,
}


@dataclass(frozen=True)
class Project:
    """A checkout at `root`, with its own git history and DVC cache."""

    root: Path

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; its output is shown when a test fails."""
        done = subprocess.run(command, cwd=self.root, env=environment(), text=True, capture_output=True, check=False)
        print("$", *command, "\n", done.stdout, done.stderr)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def dvc(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run DVC in the project."""
        return self.run(sys.executable, "-m", "dvc", *arguments, check=check)

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", message)

    def set(self, changes: Mapping[str, Any]) -> None:
        """Change settings in params.yaml, each given by its dotted key."""
        yaml = YAML()
        path = self.root / "params.yaml"
        params = yaml.load(path)
        for key, value in changes.items():
            *above, last = key.split(".")
            place = params
            for part in above:
                place = place[part]
            place[last] = value
        yaml.dump(params, path)

    def copy(self, root: Path) -> "Project":
        """The same project, data and cache included, elsewhere."""
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root)


def environment() -> dict[str, str]:
    """The environment with this Python first in PATH, since the stages' commands say `python`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"}


def checkout(root: Path) -> Project:
    """The project's files as they are now, without data, in a new git repository with a shrunken sample."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, text=True, capture_output=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    (root / "dvc.lock").unlink(missing_ok=True)
    (root / "models/baseline.json").write_text("{}\n")  # the whole sample's is out of reach for a shrunken one
    project = Project(root)
    project.run("git", "init", "-q")
    project.set(SHRUNKEN)
    project.commit("start")
    return project
