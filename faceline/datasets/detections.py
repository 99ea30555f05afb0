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
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from faceline.datasets.tables import FACES
from faceline.faces.decoding import decode
from faceline.faces.detection import DetectSettings, Face
from faceline.faces.detector import Detector
from faceline.files import read_table, write_table

CHUNK, CHUNK_PIXELS = 256, 24_000_000  # pictures, and pixels, decoded and detected together; bounds memory
STORE_VERSION = 2  # raise when the same settings find other faces than before, so that old detections are not used

MOST_FACES = 2**15 - 1  # of a picture; FACES numbers them in 16 bits

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """The work of one worker: the pictures of one part of the images table that the store lacks."""

    images: Path
    image_ids: frozenset[str]
    settings: DetectSettings
    max_pixels: int
    store: Path

    def __len__(self) -> int:
        return len(self.image_ids)

    def __str__(self) -> str:
        return str(self.images)


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
    rows = [
        row
        for chunk in chunks(_pictures(part))
        for (image_id, _), answer in zip(chunk, detect_each(detector, [pixels for _, pixels in chunk]), strict=True)
        for row in face_rows(image_id, answer)
    ]
    name = hashlib.sha256("".join(sorted(part.image_ids)).encode()).hexdigest()[:24]
    write_table(part.store / f"{name}.parquet", pa.Table.from_pylist(rows, FACES), FACES)
    return len(part)


def chunks(pictures: Iterable[tuple[T, np.ndarray]]) -> Iterator[list[tuple[T, np.ndarray]]]:
    """Pictures (height, width, 3), each with its key, few enough at a time: CHUNK and CHUNK_PIXELS, but always one."""
    chunk: list[tuple[T, np.ndarray]] = []
    pixels = 0
    for key, picture in pictures:
        size = picture.shape[0] * picture.shape[1]
        if chunk and (len(chunk) == CHUNK or pixels + size > CHUNK_PIXELS):
            yield chunk
            chunk, pixels = [], 0
        chunk.append((key, picture))
        pixels += size
    if chunk:
        yield chunk


def _pictures(part: Part) -> Iterator[tuple[str, np.ndarray]]:
    """The pictures of a part, decoded, with their image_ids."""
    for batch in pq.ParquetFile(part.images).iter_batches(CHUNK, columns=["image_id", "bytes"]):
        for image_id, data in zip(batch["image_id"].to_pylist(), batch["bytes"], strict=True):
            if image_id in part.image_ids:
                yield image_id, decode(data.as_py(), max_pixels=part.max_pixels)


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
    if not isinstance(answer, str) and len(answer) > MOST_FACES:
        answer = f"too many faces: {len(answer)}"
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
