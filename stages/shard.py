"""Write the crops and labels of each subset as TFRecord and Parquet, shuffled.

Reads data/clean (labels), data/crop (pictures) and data/split (subsets), writes data/shards: a folder for each subset,
manifest.json (rows, checksums, label codes and counts, size and form of a crop) and summary.json.
Run it with `dvc repro shard`.

The pictures are copied once to a temporary file and each shard is written from there, so that no more than a batch of
them is in memory, and their order depends on the seed and the rows alone.
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from faceline.datasets.crops import CropFormat
from faceline.datasets.labels import GENDERS, RACES
from faceline.datasets.records import LABEL_COLUMNS, MANIFEST, ShardSettings, label_counts, write_part
from faceline.datasets.summary import summarize
from faceline.datasets.tables import MISSING, REJECTED, SUBSETS
from faceline.errors import SourceError
from faceline.files import atomic_directory, read_table, write_json
from faceline.gates.passes import require_pass
from faceline.params import read_settings

BATCH = 256  # pictures in memory while they are copied
PNG_WIDTH = slice(16, 20)  # where a PNG holds its width, big-endian (https://www.w3.org/TR/png-3/#11IHDR)


def copy_pictures(crops: Path, file: BinaryIO) -> pa.Table:
    """Write the PNGs of all crops one after another to `file`; each one's image_id, side (pixels), place and length."""
    tables = []
    for part in sorted(crops.glob("part-*.parquet")):
        for batch in pq.ParquetFile(part).iter_batches(BATCH, columns=["image_id", "png"]):
            pngs = batch["png"].to_pylist()
            sides = [int.from_bytes(png[PNG_WIDTH]) for png in pngs]
            places, lengths = zip(*((file.tell(), file.write(png)) for png in pngs), strict=True)
            tables.append(pa.table({"image_id": batch["image_id"], "side": sides, "place": places, "length": lengths}))
    if not tables:
        raise SourceError(f"{crops} holds no crops; run `dvc repro crop`")
    return pa.concat_tables(tables)


def join(clean: Path, split: Path, pictures: pa.Table) -> pd.DataFrame:
    """Labels, subset and place of the picture of every row that was assigned to a subset.

    Raises:
        SourceError: a row is not in all three tables, or the crops are not of one size.
    """
    kept = read_table(clean / "kept.parquet", ["image_id", *LABEL_COLUMNS])
    rows = read_table(split / "assignment.parquet", ["image_id", "subset"])
    ids, cropped = rows["image_id"], pictures["image_id"]  # joined in Arrow: a merge in pandas takes a kilobyte a row
    picture, label = pc.index_in(ids, cropped), pc.index_in(ids, kept["image_id"])  # null where it is not there
    stray = [*ids.filter(pc.is_null(pc.add(picture, label))), *cropped.filter(pc.is_null(pc.index_in(cropped, ids)))]
    if stray:
        missing = "are not in all of crops, labels and assignment"
        raise SourceError(f"{len(stray)} rows {missing}, as {min(map(str, stray))}; run `dvc repro`")
    sizes = Counter(pictures["side"].to_pylist())
    if len(sizes) > 1:
        raise SourceError(f"the crops have several sizes (pixels: pictures): {dict(sorted(sizes.items()))}")
    tables = rows, pictures.drop_columns("image_id").take(picture), kept.drop_columns("image_id").take(label)
    joined: pd.DataFrame = pd.concat([table.to_pandas() for table in tables], axis="columns")
    return joined.astype(dict.fromkeys(LABEL_COLUMNS, "Int16"))  # whole numbers with nulls


def shuffled(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """`rows` in the order of a hash of the seed and their image_id, whatever their order was."""
    keys = (hashlib.sha256(f"{seed}:{image_id}".encode()).digest() for image_id in rows["image_id"])
    return rows.take(pc.sort_indices(pa.array(keys, pa.binary(32))).to_numpy())


def records(rows: pd.DataFrame, file: BinaryIO, crops: CropFormat) -> Iterator[dict[str, Any]]:
    """The rows with their pictures, as shards hold them."""
    columns = ["image_id", "place", "length", *LABEL_COLUMNS]
    for image_id, place, length, *values in rows[columns].itertuples(index=False, name=None):
        file.seek(place)
        crop = crops.pack(file.read(length))
        labels = (None if pd.isna(value) else int(value) for value in values)
        yield {"image_id": image_id, "crop": crop, **dict(zip(LABEL_COLUMNS, labels, strict=True))}


def write_subset(
    rows: pd.DataFrame, file: BinaryIO, folder: Path, settings: ShardSettings, crops: CropFormat
) -> list[dict[str, Any]]:
    """Write one subset, `settings.rows` a file; what the manifest says of each file."""
    folder.mkdir()
    starts = range(0, len(rows), settings.rows)
    parts = (records(rows.iloc[start : start + settings.rows], file, crops) for start in starts)
    return [entry for number, part in enumerate(parts) for entry in write_part(part, folder, number, settings.formats)]


@click.command(help=__doc__)
@click.option("--clean", type=click.Path(path_type=Path), required=True, help="The folder of the kept labels.")
@click.option("--crop", type=click.Path(path_type=Path), required=True, help="The folder of the crops.")
@click.option("--split", type=click.Path(path_type=Path), required=True, help="The folder of the assignment.")
@click.option("--gates", type=click.Path(path_type=Path), required=True, help="The folder of the gates' passes.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(clean: Path, crop: Path, split: Path, gates: Path, output: Path) -> None:
    """Join, shuffle, write."""
    settings = read_settings(ShardSettings, "shard")
    for name, tables in (("clean", clean), ("crop", crop), ("split", split)):
        require_pass(gates, name, tables)
    with atomic_directory(output) as folder, tempfile.TemporaryFile(dir=folder) as file:
        rows = join(clean, split, copy_pictures(crop / "faces", file))
        subsets = {name: shuffled(rows[rows["subset"] == name], settings.seed) for name in SUBSETS}
        crops = CropFormat(settings.pixels, int(rows["side"].iloc[0]))
        files = [item for name in SUBSETS for item in write_subset(subsets[name], file, folder / name, settings, crops)]
        manifest: dict[str, Any] = {
            "crop_size": crops.side,
            "files": files,
            "formats": sorted(settings.formats),
            "label_counts": {name: label_counts(subset) for name, subset in subsets.items()},
            "labels": {"gender": GENDERS, "race": RACES, "missing": MISSING},
            "pixels": crops.pixels,
            "rows": {name: len(subset) for name, subset in subsets.items()},
        }
        write_json(folder / MANIFEST, manifest)
        write_json(folder / "summary.json", summarize(len(rows), len(rows), REJECTED.empty_table()))


if __name__ == "__main__":
    main()
