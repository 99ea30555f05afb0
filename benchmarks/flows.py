"""What a run through Prefect costs over `dvc repro`: seconds a stage, and for a pipeline that is up to date.

Two clones of the project's last commit, with a small sample, are built from nothing: one by `dvc repro`, one by the
flow `rebuild` on a Prefect server that is up already. Both are then asked once more, with nothing to do: what the flow
takes longer then is its start, and the rest of what it took longer before is its stages'. A third clone is built before
and not counted. Start it where nothing else is busy.

    python -m benchmarks.flows --json
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
from ruamel.yaml import YAML

from benchmarks.measuring import Usage, measure
from pipelines import server
from pipelines.children import environment

ROOT = Path(__file__).parent.parent
SMALL = {"faces": 90}  # of the sample; what the stages themselves take is the same on both sides
LENIENT = {
    "split": {"max_group": 0.05},
    "train": {"min_fall": 0.0},
    "evaluate": {
        "floors": {},
        "age_mae_below_constant": 9.0,
        "accuracy_above_constant": -1.0,
    },
}  # so few faces teach a network nothing
DVC = [sys.executable, "-m", "dvc", "repro"]
FLOW = [sys.executable, "-m", "pipelines", "rebuild"]


def project(folder: Path) -> Path:
    """A clone of the last commit in `folder`, with the small sample and nothing built."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    yaml, path = YAML(), folder / "params.yaml"
    params = yaml.load(path)
    params["sample"].update(SMALL)
    params["recipes"]["compact"]["epochs"] = 2
    for gate, limits in LENIENT.items():
        params["datasets"]["sample"]["gates"][gate].update(limits)
    params["datasets"]["sample"]["gates"]["evaluate"]["slices"].update(min_gender_accuracy=0.0, max_age_mae=116)
    yaml.dump(params, path)
    (folder / "dvc.lock").unlink()
    (folder / "models/baseline.json").write_text("{}\n", encoding="utf-8")
    return folder


def timed(command: list[str], folder: Path, variables: dict[str, str]) -> Usage:
    """Run and measure a command that builds a clone with its own code."""
    return measure(command, folder, {**environment(), **variables, "PYTHONPATH": str(folder)})


def more(built: Mapping[str, float], again: Mapping[str, float], stages: int) -> tuple[float, float]:
    """The seconds that the flow takes longer: to start, and a stage."""
    start = again["flow"] - again["dvc repro"]
    return round(start, 2), round((built["flow"] - built["dvc repro"] - start) / stages, 2)


@click.command(help=__doc__)
@click.option("--port", default=4299, show_default=True, help="A free one, for the server.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(port: int, as_json: bool) -> None:
    """Build, measure, print."""
    with tempfile.TemporaryDirectory(prefix="flows-") as name:
        folder = Path(name)
        os.environ["PREFECT_HOME"] = str(folder / "home")
        with server.running(port) as api:
            sides = {
                "dvc repro": (DVC, project(folder / "plain"), {}),
                "flow": (FLOW, project(folder / "flow"), {"PREFECT_API_URL": api}),
            }
            timed(DVC, project(folder / "first"), {})  # not counted: it reads from disk what the others find in memory
            built = {side: timed(*given).seconds for side, given in sides.items()}
            again = {side: timed(*given).seconds for side, given in sides.items()}
        stages = len(YAML(typ="safe").load(folder / "plain/dvc.lock")["stages"])
    start, a_stage = more(built, again, stages)
    for told, seconds in (("from nothing", built), ("nothing to do", again)):
        click.echo(f"{told:<14}" + "".join(f"{side} {value:.1f} s   " for side, value in seconds.items()), err=as_json)
    click.echo(f"{start} s more to start, and {a_stage} s a stage, of {stages} stages", err=as_json)
    if as_json:
        longer = {"more_to_start": start, "more_a_stage": a_stage}
        click.echo(json.dumps({"built": built, "again": again, "stages": stages, **longer}, indent=2))


if __name__ == "__main__":
    main()
