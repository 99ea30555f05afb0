"""What an audit takes: rows a second, and whether memory grows with the rows.

Renders a few hundred portraits of the sample, lists them again and again as profiles, every tenth with a wrong
statement, and audits them with the project's bundle: a tenth of the rows, then all, each in a process of its own.

    python -m benchmarks.audit --rows 10000 --json
"""

import csv
import io
import sys
import tempfile
from pathlib import Path

import click

from benchmarks.measuring import measure, show_growth
from faceline.cli import BUNDLES
from faceline.datasets.labels import GENDERS, Gender, Race
from faceline.datasets.sample.picture import Shot, Sitter, take
from faceline.files import read_json

ROOT = Path(__file__).parent.parent
SIDE = 256  # pixels
WRONG = 10  # every so many rows the stated age is another


def sitter(number: int) -> Sitter:
    """Somebody of any age."""
    return Sitter((number,), 5 + number * 7 % 80, Gender(number % 2), Race(number % 5))


def render(folder: Path, pictures: int) -> None:
    """Write distinct portraits."""
    for number in range(pictures):
        buffer = io.BytesIO()
        take(Shot((number,), SIDE, (sitter(number),))).save(buffer, "JPEG", quality=90)
        (folder / f"{number}.jpg").write_bytes(buffer.getvalue())


def write_profiles(path: Path, rows: int, pictures: int) -> None:
    """Write profiles of these portraits."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "picture", "age", "gender"])
        for row in range(rows):
            who = sitter(row % pictures)
            age = (who.age + 40) % 80 if row % WRONG == 0 else who.age
            table.writerow([row, f"{row % pictures}.jpg", age, GENDERS[who.gender]])


def run(folder: Path, rows: int, pictures: int, bundle: Path) -> dict[str, float]:
    """Audit so many rows in a process of its own."""
    profiles, output = folder / f"{rows}.csv", folder / f"audit-{rows}"
    write_profiles(profiles, rows, pictures)
    program = "from faceline.cli import main; main()"
    arguments = ["audit", profiles, "--bundle", bundle.absolute(), "--output", output]
    used = measure([sys.executable, "-c", program, *map(str, arguments)], ROOT)
    summary = read_json(output / "summary.json")
    return {
        "rows": rows,
        "seconds": used.seconds,
        "rows_a_second": round(rows / used.seconds, 1),
        "peak_bytes": used.peak_bytes,
        "tested": summary["tested"],
        "flagged": summary["flagged"],
    }


@click.command(help=__doc__)
@click.option("--rows", type=click.IntRange(min=10), default=10_000, show_default=True, help="A tenth is done first.")
@click.option("--pictures", type=click.IntRange(min=1), default=300, show_default=True, help="Distinct ones.")
@click.option("--bundle", type=click.Path(path_type=Path), default=ROOT / BUNDLES[0], show_default=str(BUNDLES[0]))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def main(rows: int, pictures: int, bundle: Path, as_json: bool) -> None:
    """Render, audit twice, print."""
    with tempfile.TemporaryDirectory() as name:
        # In a process of its own: a process counts what its parent held.
        program = f"from benchmarks.audit import render; from pathlib import Path; render(Path({name!r}), {pictures})"
        measure([sys.executable, "-c", program], ROOT)
        runs = [run(Path(name), size, pictures, bundle) for size in (rows // 10, rows)]
    show_growth(runs, as_json, bundle=bundle.name, pictures=str(pictures))


if __name__ == "__main__":
    main()
