"""What stages/detect.py does with a table of pictures, but for the gates: a process that benchmarks.detect measures."""

from pathlib import Path

import click

from faceline.datasets.detections import read_store, search, store_folder
from faceline.datasets.tables import FACES
from faceline.faces.decoding import PIXELS_LIMIT
from faceline.faces.detection import DetectSettings
from faceline.files import read_table, write_table
from faceline.parallel import ClusterSettings, map_parts
from stages.detect import missing_parts


@click.command(help=__doc__)
@click.argument("images", type=click.Path(path_type=Path))
@click.argument("store", type=click.Path(path_type=Path))
def main(images: Path, store: Path) -> None:
    """Detect what the store lacks, write the table of all."""
    settings = DetectSettings()
    folder = store_folder(store, settings)
    ids = {name for file in images.glob("*.parquet") for name in read_table(file, ["image_id"])["image_id"].to_pylist()}
    missing = missing_parts(images, ids, settings, PIXELS_LIMIT, folder)
    map_parts(search, missing, "detect", ClusterSettings(), on_gpus=True)
    write_table(store / "faces.parquet", read_store(folder, ids), FACES)


if __name__ == "__main__":
    main()
