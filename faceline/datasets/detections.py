"""Detecting the faces of a whole table of pictures, part by part, never twice.

Detections are kept in a store outside DVC's outputs, keyed by the detector's settings and, inside, by image_id: a run
asks the store first, so a killed run or one per cent new pictures cost only what is missing. The store may be deleted
at any moment.
"""

import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from faceline.datasets.tables import FACES
from faceline.faces.decoding import decode
from faceline.faces.detection import Detector, DetectSettings, Face
from faceline.files import read_table, write_table

CHUNK = 256  # pictures decoded and detected together; bounds memory
STORE_VERSION = 1  # raise when the same settings find other faces than before, so that old detections are not used


@dataclass(frozen=True)
class Part:
    """The work of one worker: the pictures of one part of the images table that the store lacks."""

    images: Path
    image_ids: frozenset[str]
    settings: DetectSettings
    max_pixels: int
    store: Path


def store_folder(store: Path, settings: DetectSettings) -> Path:
    """The folder of the store that holds what these settings found."""
    key = hashlib.sha256(f"{STORE_VERSION}:{version('mtcnn')}:{settings.model_dump_json()}".encode()).hexdigest()[:16]
    return store / key


def stored(folder: Path) -> Iterator[pa.Table]:
    """The tables of a folder of the store; one that is damaged or of another version counts as missing."""
    for file in sorted(folder.glob("*.parquet")):
        try:
            table = read_table(file)
        except (OSError, pa.ArrowException):
            continue
        if table.schema.names == FACES.names:
            yield table


def known(folder: Path) -> set[str]:
    """The pictures that the store has an answer for; one on which the detector failed is tried again."""
    tables = (table.filter(pc.is_null(table["error"])) for table in stored(folder))
    return {image_id for table in tables for image_id in table["image_id"].to_pylist()}


def read_store(folder: Path, image_ids: Iterable[str]) -> pa.Table:
    """The stored rows of `image_ids`, sorted by image_id and face; schema FACES."""
    wanted = pa.array(sorted(image_ids), pa.string())
    rows = (table.filter(pc.is_in(table.column("image_id"), wanted)) for table in stored(folder))
    table = pa.concat_tables([FACES.empty_table(), *rows])
    # A failure that a later run has made good is forgotten.
    done = table.filter(pc.is_null(table["error"]))["image_id"]
    table = table.filter(pc.or_(pc.is_null(table["error"]), pc.invert(pc.is_in(table["image_id"], done))))
    # Two runs at once may have stored a picture twice; the rows are equal, and one set of them is enough.
    table = table.sort_by([("image_id", "ascending"), ("face", "ascending")])
    key = np.asarray(
        [f"{i}/{f}" for i, f in zip(table["image_id"].to_pylist(), table["face"].to_pylist(), strict=True)]
    )
    first = np.sort(np.unique(key, return_index=True)[1]) if len(key) else np.empty(0, np.int64)
    return table.take(pa.array(first, pa.int64()))


def search(part: Part) -> int:
    """Detect the faces of a part's pictures and put them in the store; returns how many pictures were done."""
    detector = _detector(part.settings)
    rows: list[dict[str, object]] = []
    done = 0
    for batch in pq.ParquetFile(part.images).iter_batches(CHUNK, columns=["image_id", "bytes"]):
        names, data = batch["image_id"].to_pylist(), batch["bytes"]
        wanted = [index for index, name in enumerate(names) if name in part.image_ids]
        pictures = [decode(data[index].as_py(), max_pixels=part.max_pixels) for index in wanted]
        for index, answer in zip(wanted, detect_each(detector, pictures), strict=True):
            rows += face_rows(names[index], answer)
        done += len(wanted)
    name = hashlib.sha256("".join(sorted(part.image_ids)).encode()).hexdigest()[:24]
    write_table(part.store / f"{name}.parquet", pa.Table.from_pylist(rows, FACES), FACES)
    return done


def detect_each(detector: Detector, pictures: Sequence[np.ndarray]) -> list[list[Face] | str]:
    """The faces of each picture, or what the detector raised on it: one bad picture must not cost the others."""
    try:
        return list(detector.detect(pictures))
    except Exception as error:  # noqa: BLE001 - whatever the library raises is that picture's reason
        if len(pictures) == 1:
            return [f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"]
    middle = len(pictures) // 2
    return detect_each(detector, pictures[:middle]) + detect_each(detector, pictures[middle:])


def face_rows(image_id: str, answer: list[Face] | str) -> list[dict[str, object]]:
    """One row of FACES a face, or one that says that there is none or what went wrong."""
    if isinstance(answer, str):
        return [{"image_id": image_id, "error": answer}]
    if not answer:
        return [{"image_id": image_id, "count": 0}]
    return [
        {
            "image_id": image_id,
            "count": len(answer),
            "face": index,
            "x": face.x,
            "y": face.y,
            "width": face.width,
            "height": face.height,
            "score": face.score,
            "landmarks": list(face.landmarks) or None,
        }
        for index, face in enumerate(answer)
    ]


@functools.cache
def _detector(settings: DetectSettings) -> Detector:
    """One detector a worker process, however many parts it does."""
    return Detector(settings)
