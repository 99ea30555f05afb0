"""How fast shard is, and how much memory each further row takes.

Makes tables of tiny synthetic crops, all different, in a temporary folder, runs the stage on them, and prints pictures
a second, peak memory, and by how many bytes a row the peak grew from the smallest to the largest. TFRecord needs
TensorFlow, whose half a gigabyte can hide what the rows take: look at Parquet alone, too.

    python -m benchmarks.shard --rows 20000 --rows 200000 --format parquet
"""

import hashlib
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
import pyarrow as pa

from benchmarks.measuring import measure, show_growth
from faceline.datasets.ingestion import PART_ROWS
from faceline.datasets.tables import ASSIGNMENT, CROPS, KEPT, THUMBNAIL
from faceline.faces.decoding import encode_png
from faceline.files import write_json, write_table
from faceline.gates.passes import write_pass
from faceline.params import PARAMS, section

ROOT = Path(__file__).parent.parent
FORMATS = ("tfrecord", "parquet")
TABLES = ("clean", "crop", "split")
SIDE = 24  # pixels
SUBSETS = (*["train"] * 8, "val", "test")


def image_id(number: int) -> str:
    """As long as a real one, another one for each number."""
    return hashlib.sha256(b"%d" % number).hexdigest()


def crops(numbers: range) -> pa.Table:
    """Crops of noise with schema CROPS, another one for each number."""
    noise = np.random.default_rng(numbers.start).integers(0, 256, (len(numbers), SIDE, SIDE, 3), dtype=np.uint8)
    columns = {"image_id": [image_id(number) for number in numbers], "png": [encode_png(pixels) for pixels in noise]}
    quality = {name: np.full(len(numbers), 100.0) for name in ("face_side", "sharpness", "brightness")}
    return pa.table({**columns, **quality}).cast(CROPS)


def make(folder: Path, rows: int) -> None:
    """Write the tables that shard reads, for `rows` pictures, and their passes."""
    numbers = range(rows)
    for part, start in enumerate(range(0, rows, PART_ROWS)):
        table = crops(numbers[start : start + PART_ROWS])
        write_table(folder / f"data/crop/faces/part-{part:05d}.parquet", table, CROPS)
    ids = [image_id(number) for number in numbers]
    kept = {
        "image_id": ids,
        "path": [f"bench/{number % 100:02d}/{number}.jpg" for number in numbers],
        **{name: np.full(rows, SIDE) for name in ("width", "height")},
        "phash": np.arange(rows, dtype=np.uint64),
        "thumbnail": [number.to_bytes(THUMBNAIL * THUMBNAIL) for number in numbers],
        "age": np.arange(rows) % 100,
        "gender": np.arange(rows) % 2,
        "race": [None if number % 3 == 0 else number % 5 for number in numbers],
        "subject": pa.nulls(rows, pa.string()),
    }
    subsets = [SUBSETS[number % len(SUBSETS)] for number in numbers]
    assignment = {"image_id": ids, "group": ids, "subset": subsets, "fold": np.arange(rows) % 5}
    write_table(folder / "data/clean/kept.parquet", pa.table(kept), KEPT)
    write_table(folder / "data/split/assignment.parquet", pa.table(assignment), ASSIGNMENT)
    for name in TABLES:
        write_pass(folder / "data/gates", name, folder / "data" / name)


def run(rows: int, formats: tuple[str, ...]) -> dict[str, float]:
    """Make the tables in a process of its own, so that this one stays small, and measure the stage."""
    settings = {**section("shard", path=ROOT / PARAMS), "formats": formats}
    command = [sys.executable, "-m", "stages.shard", "--gates", "data/gates", "--output", "data/shards"]
    tables = [word for name in TABLES for word in (f"--{name}", f"data/{name}")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            pool.submit(make, folder, rows).result()
        write_json(folder / PARAMS, {"shard": settings})  # JSON is YAML, too
        return {"rows": rows, **vars(measure([*command, *tables], folder))}


@click.command(help=__doc__)
@click.option("--rows", type=click.IntRange(min=1), multiple=True, default=(20_000, 200_000), help="Sizes to compare.")
@click.option("--format", "formats", type=click.Choice(FORMATS), multiple=True, default=FORMATS, help="What to write.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(rows: tuple[int, ...], formats: tuple[str, ...], as_json: bool) -> None:
    """Run the benchmark."""
    show_growth([run(size, formats) for size in sorted(rows)], as_json, formats=" ".join(formats))


if __name__ == "__main__":
    main()
