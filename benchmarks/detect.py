"""Seconds and memory of detection on many photos of all sizes, and again when one per cent is new.

Each run is a process with its workers, as the stage's: a tenth of the photos with an empty store, all of them with an
empty store, all and one per cent more, and once more with nothing new. Photos are windows of rendered composites.

    python -m benchmarks.detect --photos 20000
"""

import io
import json
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks.measuring import Usage, measure
from benchmarks.pictures import photos
from faceline.datasets.ingestion import PART_BYTES, PART_ROWS
from faceline.datasets.tables import IMAGES
from faceline.files import write_table

COMPOSITES = 60  # large ones, of which the photos are windows


def windows(shortest: int, longest: int) -> Generator[bytes, None, None]:
    """Encoded photos without end, no two alike."""
    rng = np.random.default_rng(0)
    large = [Image.open(io.BytesIO(data)).convert("RGB") for data in photos(COMPOSITES, shortest=1200, longest=1600)]
    while True:
        whole = large[int(rng.integers(len(large)))]
        width, height = (int(side) for side in rng.integers(shortest, longest + 1, 2))
        left, top = int(rng.integers(whole.width - width)), int(rng.integers(whole.height - height))
        buffer = io.BytesIO()
        whole.crop((left, top, left + width, top + height)).save(buffer, "JPEG", quality=85)
        yield buffer.getvalue()


def add(folder: Path, pictures: Iterator[bytes], first: int) -> None:
    """Write pictures as parts of an images table, as the stage `ingest` cuts them."""
    folder.mkdir(exist_ok=True)
    rows: list[dict[str, object]] = []
    held = 0
    for number, data in enumerate(pictures, first):
        rows.append({"image_id": f"{number:08}", "path": f"{number}.jpg", "bytes": data})
        held += len(data)
        if len(rows) == PART_ROWS or held >= PART_BYTES:
            _flush(folder, rows)
            held = 0
    _flush(folder, rows)


def _flush(folder: Path, rows: list[dict[str, object]]) -> None:
    if rows:
        write_table(folder / f"part-{rows[0]['image_id']}.parquet", pa.Table.from_pylist(rows, IMAGES), IMAGES)
        rows.clear()


def run(images: Path, store: Path) -> Usage:
    """Detect in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.detecting", str(images.absolute()), str(store.absolute())]
    return measure(command, Path(__file__).parent.parent)


@click.command(help=__doc__)
@click.option("--photos", "count", type=click.IntRange(min=100), default=20_000, show_default=True)
@click.option("--shortest", type=click.IntRange(24, 1100), default=300, show_default=True, help="Pixels a side.")
@click.option("--longest", type=click.IntRange(24, 1100), default=640, show_default=True, help="Pixels a side.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def main(count: int, shortest: int, longest: int, as_json: bool) -> None:
    """Make the photos, run, print."""
    if shortest > longest:
        raise click.BadParameter(f"{shortest} is above --longest, {longest}", param_hint="--shortest")
    few, more = count // 10, count // 100
    with tempfile.TemporaryDirectory() as name:
        images, new, store = Path(name) / "images", Path(name) / "new", Path(name) / "store"
        runs: dict[str, tuple[int, Usage]] = {}
        source = windows(shortest, longest)
        add(images, islice(source, few), 0)
        add(new, islice(source, more), count)
        runs["a tenth"] = few, run(images, store)
        shutil.rmtree(store)
        add(images, islice(source, count - few), few)
        source.close()  # before the run that matters, for a process counts what its parent held
        runs["all"] = count, run(images, store)
        for part in new.iterdir():
            part.rename(images / part.name)
        runs["1 % new"] = more, run(images, store)
        runs["none new"] = 0, run(images, store)
    share = runs["1 % new"][1].seconds / runs["all"][1].seconds
    if as_json:
        told = {what: {"detected": detected, **asdict(used)} for what, (detected, used) in runs.items()}
        return click.echo(json.dumps({"runs": told, "share_of_new": round(share, 4)}, indent=2))
    for what, (detected, used) in runs.items():
        speed = f"{detected / used.seconds:7.1f} pictures/s" if detected else " " * 18
        memory = f"{used.largest_bytes / 2**20:6.0f} MiB the largest process, {used.peak_bytes / 2**20:6.0f} MiB all"
        click.echo(f"{what:9} {detected:7} detected {used.seconds:7.1f} s {speed} {memory}")
    return click.echo(f"1 % new took {share:.1%} of the seconds of all")


if __name__ == "__main__":
    main()
