"""Cut the one face out of each picture, as serving will, and judge its quality. Pure geometry and rules: no network.

Reads data/ingest (pictures), data/clean (kept rows) and data/detect (faces), writes data/crop: faces/part-*.parquet
(the crops as PNG, with their quality), rejected.parquet and summary.json. Run it with `dvc repro crop`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq

from faceline.datasets.summary import summarize, told
from faceline.datasets.tables import CROPS, REJECTED
from faceline.errors import SourceError
from faceline.faces.cropping import CropSettings, crop_face, only_face
from faceline.faces.decoding import decode, encode_png
from faceline.faces.detection import Face
from faceline.faces.quality import fault, measure
from faceline.files import atomic_directory, read_table, write_json, write_table
from faceline.gates.passes import require_pass
from faceline.parallel import ClusterSettings, map_parts
from faceline.params import chosen, read_settings, section

CHUNK = 256  # pictures read at a time; bounds memory


@dataclass(frozen=True)
class Part:
    """The work of one worker: one part of the images table, and the kept pictures' paths and faces in it."""

    images: Path
    paths: dict[str, str]  # by image_id
    faces: dict[str, list[Face] | str]  # by image_id; a text is what the detector raised
    settings: CropSettings
    max_pixels: int
    output: Path

    def __len__(self) -> int:
        return len(self.paths)

    def __str__(self) -> str:
        return str(self.images)


def verdict(picture_bytes: bytes, faces: list[Face] | str, settings: CropSettings, max_pixels: int) -> dict[str, Any]:
    """The crop of a picture with its quality, or the reason why there is none."""
    if isinstance(faces, str):
        return {"reason": "detector_failed", "detail": faces}
    face = only_face(faces, settings)
    if isinstance(face, tuple):
        return {"reason": face[0], "detail": face[1]}
    crop = crop_face(decode(picture_bytes, max_pixels=max_pixels), face, settings)
    quality = measure(crop, min(face.width, face.height))
    wrong = fault(quality, settings.quality)
    if wrong:
        return {"reason": wrong[0], "detail": wrong[1]}
    return {"png": encode_png(crop), **vars(quality)}


def crop_part(part: Part) -> tuple[int, pa.Table]:
    """Write the crops of a part; returns how many there are, and the table of the rejected."""
    crops: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for batch in pq.ParquetFile(part.images).iter_batches(CHUNK, columns=["image_id", "bytes"]):
        for image_id, data in zip(batch["image_id"].to_pylist(), batch["bytes"], strict=True):
            if image_id in part.paths:
                row = verdict(data.as_py(), part.faces[image_id], part.settings, part.max_pixels)
                row["image_id"] = image_id
                if "reason" in row:
                    rejected.append({**row, "path": part.paths[image_id]})
                else:
                    crops.append(row)
    write_table(part.output / part.images.name, pa.Table.from_pylist(crops, CROPS), CROPS)
    return len(crops), pa.Table.from_pylist(rejected, REJECTED)


def faces_by_image(faces: pa.Table) -> dict[str, list[Face] | str]:
    """The faces of each picture, by descending score, or what the detector raised."""
    result: dict[str, Any] = {}
    names = ("x", "y", "width", "height", "score")
    for row in faces.sort_by([("image_id", "ascending"), ("face", "ascending")]).to_pylist():
        if row["error"] is not None:
            result[row["image_id"]] = row["error"]
        elif row["face"] is None:
            result[row["image_id"]] = []
        else:
            result.setdefault(row["image_id"], []).append(
                Face(**{name: row[name] for name in names}, landmarks=tuple(row["landmarks"] or ()))
            )
    return result


@click.command(help=__doc__)
@click.option("--ingest", type=click.Path(path_type=Path), required=True, help="The folder of the ingested pictures.")
@click.option("--clean", type=click.Path(path_type=Path), required=True, help="The folder of the kept rows.")
@click.option("--detect", type=click.Path(path_type=Path), required=True, help="The folder of the found faces.")
@click.option("--gates", type=click.Path(path_type=Path), required=True, help="The folder of the gates' passes.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(ingest: Path, clean: Path, detect: Path, gates: Path, output: Path) -> None:
    """Read, crop, write."""
    dataset = chosen()[0]
    settings = read_settings(CropSettings, "datasets", dataset, "crop")
    max_pixels = int(section("datasets", dataset, "ingest", "max_pixels"))
    cluster = read_settings(ClusterSettings, "cluster")
    for gate, tables in (("ingest", ingest), ("clean", clean), ("detect", detect)):
        require_pass(gates, gate, tables)
    kept = read_table(clean / "kept.parquet", ["image_id", "path"]).to_pydict()
    paths = dict(zip(kept["image_id"], kept["path"], strict=True))
    faces = faces_by_image(read_table(detect / "faces.parquet"))
    if lacking := paths.keys() - faces.keys():
        raise SourceError(f"{detect} lacks {len(lacking)} of the kept pictures; run `dvc repro detect`")
    with atomic_directory(output) as partial:
        parts = []
        for images in sorted((ingest / "images").glob("*.parquet")):
            there = read_table(images, ["image_id"]).column("image_id").to_pylist()
            mine = {image_id: paths[image_id] for image_id in there if image_id in paths}
            found = {image_id: faces[image_id] for image_id in mine}
            parts.append(Part(images.absolute(), mine, found, settings, max_pixels, (partial / "faces").absolute()))
        done = map_parts(crop_part, parts, "crop", cluster)
        rejected = pa.concat_tables([REJECTED.empty_table(), *(table for _, table in done)])
        write_table(partial / "rejected.parquet", rejected, REJECTED)
        summary = summarize(len(paths), sum(count for count, _ in done), rejected)
        write_json(partial / "summary.json", summary)
    click.echo(told("crop", summary))


if __name__ == "__main__":
    main()
