"""Seconds and peak memory of each stage, on the data of a project as it stands.

Every stage is run by itself, with the command and the inputs that `dvc repro` left in dvc.lock, in a temporary folder
that holds these inputs (as links) and nothing else: no store, so detect and train do all of their work. The
project's own data stay as they are. Start it where nothing else is busy; on a busy machine trust the CPU seconds.

    python -m benchmarks.pipeline --stage detect --stage crop
"""

import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from benchmarks.measuring import Usage, measure
from faceline.params import PARAMS, chosen, section

ROOT = Path(__file__).parent.parent
DATA = ("data/", "models/")  # where inputs lie that are no code
SCRATCH = ".dvc/tmp"  # on the disk of the data, so that they can be linked


def locked(project: Path, names: Iterable[str]) -> dict[str, Any]:
    """The entries of dvc.lock for the stages of these names, for all where there is none.

    Raises:
        ClickException: there is no dvc.lock, no such stage, or the settings have changed since.
    """
    lock = project / "dvc.lock"
    if not lock.exists():
        raise click.ClickException(f"{lock} is missing; run `dvc repro`")
    stages: dict[str, Any] = YAML(typ="safe", pure=True).load(lock.read_text(encoding="utf-8"))["stages"]
    wanted = {name: stages.get(name) for name in names or stages}
    for name, stage in wanted.items():
        if stage is None:
            raise click.ClickException(f"--stage {name}: not in {lock}; there are {', '.join(stages)}")
        for key, value in stage.get("params", {}).get(str(PARAMS), {}).items():
            if section(*key.split("."), path=project / PARAMS) != value:
                raise click.ClickException(f"{key} has changed since {name} was run; run `dvc repro`")
    return wanted


def link(source: str, target: str) -> None:
    """Make `target` a hard link to the file `source`, or a copy where the disk is another."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)


def beside(project: Path) -> list[str]:
    """What stages may read that is no dependency of theirs in dvc.lock: raw data, weights, teachers, a start."""
    dataset, recipe = chosen(project / PARAMS)
    start = section("recipes", recipe, path=project / PARAMS).get("start")
    return [f"data/raw/{dataset}", "data/weights", "models/teachers", *([start] if start else [])]


def run(stage: dict[str, Any], project: Path) -> Usage:
    """Run the command of a stage with just its inputs.

    No stage writes into a file that is there (see faceline.files), so what is linked is safe.
    """
    scratch = project / SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="benchmark-") as name:
        folder = Path(name)
        shutil.copy(project / PARAMS, folder)
        for path in (item["path"] for item in stage["deps"] if item["path"].startswith(DATA)):
            source, target = project / path, folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, copy_function=link, dirs_exist_ok=True)
            else:
                link(str(source), str(target))
        made = {item["path"] for item in stage["outs"]}
        for path in beside(project):
            source, target = project / path, folder / path
            if path not in made and source.exists() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(source)
        search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return measure(shlex.split(stage["cmd"]), folder, {**os.environ, "PATH": search, "PYTHONPATH": str(project)})


@click.command(help=__doc__)
@click.option("--project", type=click.Path(path_type=Path, resolve_path=True), default=ROOT, help="Another checkout.")
@click.option("--stage", "names", multiple=True, help="A stage to run, as `gate@clean`; all where none is named.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(project: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Run, measure, print."""
    stages = locked(project, names)
    dataset, recipe = chosen(project / PARAMS)
    usages: dict[str, Usage] = {}
    click.echo(f"{dataset}, {recipe}", err=as_json)
    for name, stage in stages.items():
        used = usages[name] = run(stage, project)
        took = f"{used.seconds:8.1f} s {used.cpu_seconds:8.1f} CPU s {used.peak_bytes / 2**20:7.0f} MiB at most"
        click.echo(f"{name:<14} {took}", err=as_json)
    if as_json:
        measured = {name: vars(used) for name, used in usages.items()}
        click.echo(json.dumps({"dataset": dataset, "recipe": recipe, "stages": measured}, indent=2))


if __name__ == "__main__":
    main()
