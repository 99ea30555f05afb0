"""Write an archive of UTKFace as the CSV of pixels that reference system D starts from.

    python -m demos.pixels data/raw/utkface/UTKFace.tar.gz data/raw/pixels/age_gender.csv

Every readable picture becomes a row of 48×48 grey levels, as Pillow's mode L and box filter give them: age, ethnicity,
gender, img_name, pixels. The dataset `pixels` reads it.
"""

import csv
from pathlib import Path
from typing import Any

import click
from PIL import Image

from faceline.console import counting
from faceline.datasets.sources import utkface
from faceline.datasets.sources.pixels_csv import COLUMNS
from faceline.datasets.sources.source import Item, Rejection, SourceSettings
from faceline.errors import PictureError
from faceline.faces.decoding import PIXELS_LIMIT, decode
from faceline.files import atomic_file

SIDE = 48  # pixels, of system D


def row(item: Item) -> dict[str, Any] | None:
    """The row of a picture; None for one that has no labels or cannot be read."""
    if isinstance(item, Rejection):
        return None
    try:
        pixels = decode(item.data, max_pixels=PIXELS_LIMIT)
    except PictureError:
        return None
    levels = Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()
    labels = {"age": item.labels.age, "gender": item.labels.gender, "ethnicity": item.labels.race}
    return {"img_name": item.path, **labels, "pixels": " ".join(map(str, levels))}


@click.command(help=__doc__)
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
def main(archive: Path, output: Path) -> None:
    """Read, shrink, write."""
    source = SourceSettings(reader="utkface", file=archive.name, prefix="utkface")
    items = utkface.read(source, archive.parent, salt="").items
    output.parent.mkdir(parents=True, exist_ok=True)
    written = left_out = 0
    with atomic_file(output) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        with counting("pixels") as tick:
            for item in items:
                tick()
                found = row(item)
                if found is None:
                    left_out += 1
                    continue
                writer.writerow(found)
                written += 1
    click.echo(f"{output}: {written} rows; {left_out} pictures without labels, or unreadable, left out")


if __name__ == "__main__":
    main()
