"""How fast ingest is, and how much memory each further row takes.

Makes archives of tiny synthetic pictures, all different, in a temporary folder, ingests each in a process of its own,
and prints pictures a second, peak memory, and by how many bytes a row the peak grew from the smallest to the largest.

    python -m benchmarks.ingest --rows 20000 --rows 200000 --layout wiki
"""

import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
from PIL import Image
from scipy.io import savemat

from benchmarks.measuring import show_growth
from faceline.datasets.ingestion import IngestSettings, ingest

LAYOUTS = {"wiki": "wiki.tar", "utkface": "faces.tar.gz", "zip": "faces.zip"}
STAMP = 20170101000000000  # of the first UTKFace name
SIDE = 24  # pixels
DOB, YEAR = 723671, 2009  # 5 May 1981 as MATLAB counts days, and the year taken

Add = Callable[[str, bytes], object]


def picture(number: int) -> bytes:
    """A tiny JPEG of noise, another one for each number."""
    noise = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def wiki_mat(paths: list[str]) -> bytes:
    """The metadata of WIKI with a row for each of `paths`."""
    rows = len(paths)

    def cells(values: Iterator[object]) -> np.ndarray:
        column = np.empty((1, rows), dtype=object)
        column[0, :] = list(values)
        return column

    fields = {
        "dob": np.full((1, rows), DOB, np.int32),
        "photo_taken": np.full((1, rows), YEAR, np.uint16),
        "full_path": cells(iter(paths)),
        "gender": np.ones((1, rows)),
        "name": cells(f"Somebody {number}" for number in range(rows)),
        "face_location": cells(np.ones((1, 4)) for _ in range(rows)),
        "face_score": np.full((1, rows), 3.0),
        "second_face_score": np.full((1, rows), np.nan),
    }
    buffer = io.BytesIO()
    savemat(buffer, {"wiki": fields}, do_compression=True)
    return buffer.getvalue()


@contextmanager
def archive(path: Path) -> Iterator[Add]:
    """Open a new archive, of the kind that its name says; yield what adds a member."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            yield packed.writestr
        return
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            tar.getmembers().clear()  # it would remember every member

        yield add


def make(folder: Path, layout: str, rows: int) -> None:
    """Write an archive of `rows` pictures."""
    with archive(folder / LAYOUTS[layout]) as add:
        if layout != "wiki":
            for number in range(rows):
                add(f"UTKFace/{number % 100}_{number % 2}_{number % 5}_{STAMP + number}.jpg", picture(number))
            return
        paths = [f"{number % 100:02d}/{10_000_000 + number}_1981-05-05_2009.jpg" for number in range(rows)]
        for number, path in enumerate(paths):
            add(f"wiki_crop/{path}", picture(number))
        add("wiki_crop/wiki.mat", wiki_mat(paths))


def measure_once(folder: Path, layout: str) -> dict[str, float]:
    """Ingest what `make` left in `folder`; seconds, rows and the peak memory of this process in bytes."""
    source = {"reader": "imdb_wiki" if layout == "wiki" else "utkface", "file": LAYOUTS[layout], "prefix": "bench"}
    settings = IngestSettings.model_validate(
        {"sources": [source], "max_pixels": 10**6, "min_side": 8, "salt": "benchmark", "licence": "synthetic"}
    )
    output = folder / "ingest"
    output.mkdir()
    start = time.perf_counter()
    summary = ingest(folder, settings, output, len(os.sched_getaffinity(0)))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"rows": summary["kept"], "seconds": round(seconds, 2), "peak_bytes": peak}


def run(layout: str, rows: int) -> dict[str, float]:
    """Make an archive in one process and ingest it in another, so that its peak memory is its own."""
    with tempfile.TemporaryDirectory() as folder:
        for step in ("make", "measure"):
            command = [sys.executable, "-m", "benchmarks.ingest", "--layout", layout, "--rows", str(rows)]
            result = subprocess.run([*command, "--step", step, "--folder", folder], check=True, stdout=subprocess.PIPE)
        measured: dict[str, float] = json.loads(result.stdout)
        return measured


@click.command(help=__doc__)
@click.option("--rows", type=click.IntRange(min=1), multiple=True, default=(2_000, 20_000), help="Sizes to compare.")
@click.option("--layout", type=click.Choice(list(LAYOUTS)), default="wiki", help="The kind of archive.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--step", type=click.Choice(["make", "measure"]), hidden=True)
@click.option("--folder", type=click.Path(path_type=Path), hidden=True)
def main(rows: tuple[int, ...], layout: str, as_json: bool, step: str | None, folder: Path | None) -> None:
    """Run the benchmark, or with `--step` one part of it."""
    if folder and step == "make":
        return make(folder, layout, rows[0])
    if folder and step == "measure":
        return click.echo(json.dumps(measure_once(folder, layout)))
    runs = [run(layout, size) for size in sorted(rows)]
    return show_growth(runs, as_json, layout=layout)


if __name__ == "__main__":
    main()
