"""Find every face in the kept pictures with MTCNN.

Reads data/ingest (pictures) and data/clean (which of them), asks data/store/detect for what was found before, and
writes data/detect: faces.parquet (one row a face; a picture without one has a row that says so) and summary.json.
Run it with `dvc repro detect`.
"""

from pathlib import Path

import click
import numpy as np
import pyarrow as pa

from faceline.datasets.detections import Part, known, read_store, search, store_folder
from faceline.datasets.summary import summarize
from faceline.datasets.tables import FACES, REJECTED
from faceline.faces.detection import DetectSettings
from faceline.files import atomic_directory, read_table, write_json, write_table
from faceline.gates.passes import require_pass
from faceline.parallel import ClusterSettings, map_parts
from faceline.params import chosen, read_settings, section

TASKS, FEWEST = 32, 64  # a few new pictures are no more than so many tasks of no fewer pictures, for all workers


def missing_parts(
    images: Path, wanted: set[str], settings: DetectSettings, max_pixels: int, folder: Path
) -> list[Part]:
    """The work that is left: the pictures of `wanted` that the store lacks, in parts of the images table."""
    answered = known(folder)
    missing = {}
    for file in sorted(images.glob("*.parquet")):
        there = read_table(file, ["image_id"]).column("image_id").to_pylist()
        missing[file.absolute()] = [image_id for image_id in there if image_id in wanted and image_id not in answered]
    most = max(FEWEST, -(-sum(map(len, missing.values())) // TASKS))
    return [
        Part(file, frozenset(ids[start : start + most]), settings, max_pixels, folder.absolute())
        for file, ids in missing.items()
        for start in range(0, len(ids), most)
    ]


def counts(faces: pa.Table) -> dict[str, int]:
    """How many pictures have none, one or several faces, or made the detector fail."""
    first = faces.to_pandas().drop_duplicates("image_id")
    found = first["count"]
    return {
        "none": int((found == 0).sum()),
        "one": int((found == 1).sum()),
        "several": int((found > 1).sum()),
        "failed": int(np.count_nonzero(first["error"].notna())),
    }


@click.command(help=__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), required=True, help="The folder of the ingested pictures.")
@click.option("--clean", type=click.Path(path_type=Path), required=True, help="The folder of the kept rows.")
@click.option("--gates", type=click.Path(path_type=Path), required=True, help="The folder of the gates' passes.")
@click.option(
    "--store", type=click.Path(path_type=Path), required=True, help="The folder of detections kept across runs."
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(ingest: Path, clean: Path, gates: Path, store: Path, output: Path) -> None:
    """Read, detect what the store lacks, write."""
    dataset = chosen()[0]
    settings = read_settings(DetectSettings, "datasets", dataset, "detect")
    max_pixels = int(section("datasets", dataset, "ingest", "max_pixels"))
    cluster = read_settings(ClusterSettings, "cluster")
    require_pass(gates, "ingest", ingest)
    require_pass(gates, "clean", clean)
    wanted = set(read_table(clean / "kept.parquet", ["image_id"]).column("image_id").to_pylist())
    folder = store_folder(store, settings)
    missing = missing_parts(ingest / "images", wanted, settings, max_pixels, folder)
    done = sum(map_parts(search, missing, "detect", cluster, on_gpus=settings.enabled))
    click.echo(f"{done} pictures detected, {len(wanted) - done} known from the store")
    faces = read_store(folder, wanted)
    with atomic_directory(output) as partial:
        write_table(partial / "faces.parquet", faces, FACES)
        write_json(
            partial / "summary.json", summarize(len(wanted), len(wanted), REJECTED.empty_table(), faces=counts(faces))
        )


if __name__ == "__main__":
    main()
