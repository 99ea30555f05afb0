"""Spoil a copy of the sample and watch a gate stop it: `make demo-gate`.

In a temporary copy of the project a shrunken sample is ingested and cleaned. Then three rows of the cleaned table are
given the age 150, as a broken join might. The gate names them, and the next stage refuses the table, also when it is
run by itself. Nothing of the project's own data is touched.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pyarrow as pa
from rich.console import Console
from ruamel.yaml import YAML

from faceline.datasets.tables import KEPT
from faceline.files import read_table, write_table

FACES = 60  # of the shrunken sample
SPOILED = 3  # rows
ROOT = Path(__file__).parent.parent
PROJECT = (
    "faceline",
    "stages",
    "params.yaml",
    "dvc.yaml",
    ".dvc/config",
    "models/baseline.json",
    "models/teachers/README.md",  # DVC watches the folder, so it has to be there
)
console = Console()


def copy_project(root: Path) -> None:
    """Copy the code and the settings, without data, and shrink the sample."""
    for name in PROJECT:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, root / name, ignore=ignored) if source.is_dir() else shutil.copy(source, root / name)
    yaml = YAML()
    params = yaml.load(root / "params.yaml")
    params["dataset"], params["recipe"], params["sample"]["faces"] = "sample", "compact", FACES
    yaml.dump(params, root / "params.yaml")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)


def dvc(root: Path, *arguments: str, show: bool = True) -> int:
    """Run DVC in the copy and return its exit status."""
    console.rule(f"dvc {' '.join(arguments)}", align="left")
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, check=False, capture_output=not show)
    return done.returncode


def spoil(table: Path) -> None:
    """Give the first rows of a table an age that nobody has."""
    kept = read_table(table)
    ages = [150] * SPOILED + kept.column("age").to_pylist()[SPOILED:]
    place = kept.schema.get_field_index("age")
    write_table(table, kept.set_column(place, KEPT.field("age"), pa.array(ages, pa.int16())), KEPT)


@click.command(help=__doc__)
def main() -> None:
    """Copy, spoil, show."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy_project(root)
        if dvc(root, "repro", "clean", "gate@clean"):
            raise click.ClickException("the sample could not be made")
        console.print(f"\nNow {SPOILED} rows of data/clean/kept.parquet get the age 150.\n", style="bold")
        (root / "data/clean/kept.parquet").chmod(0o644)  # DVC may have linked it read-only
        spoil(root / "data/clean/kept.parquet")
        stopped = dvc(root, "repro", "--single-item", "gate@clean")
        console.print("\nThe gate has failed. What if the next stage is run by itself?\n", style="bold")
        refused = dvc(root, "repro", "--single-item", "detect")
        if not (stopped and refused):
            raise click.ClickException("the spoiled table was let through")
        console.print("\nNeither the gate nor the next stage let the spoiled table through.", style="bold green")


if __name__ == "__main__":
    main()
