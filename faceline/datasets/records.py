"""Shards: what training reads. The same rows as TFRecord and as Parquet, and a manifest that vouches for every file.

    data/shards/{train,val,test}/part-00000.{tfrecord,parquet}
    data/shards/manifest.json

Writers, encoder, parser and readers of the format stand together here. In TFRecord an unknown label is `MISSING`, in
Parquet it is null. TensorFlow is imported by the functions that need it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, field_validator

from faceline.console import load_tensorflow
from faceline.datasets.crops import CropFormat, Held
from faceline.datasets.tables import MISSING, SHARD
from faceline.errors import SourceError
from faceline.files import read_json, sha256_file
from faceline.params import Settings

if TYPE_CHECKING:
    import tensorflow as tf

Format = Literal["tfrecord", "parquet"]
MANIFEST = "manifest.json"
LABEL_COLUMNS = ("age", "gender", "race")
ROW_GROUP = 500  # rows of a Parquet shard held at a time by who writes it
BLOCK = 100  # and by who reads it

Row = Mapping[str, Any]  # the columns of SHARD: str, bytes, and int or None


class ShardSettings(Settings):
    """How the shards are cut."""

    formats: Annotated[tuple[Format, ...], Field(min_length=1)]
    rows: Annotated[int, Field(ge=1)]  # a file
    pixels: Held = "raw"  # of a crop: as they are, or as PNG
    seed: int  # of the shuffled order

    @field_validator("formats")
    @classmethod
    def _each_once(cls, formats: tuple[Format, ...]) -> tuple[Format, ...]:
        if len(set(formats)) < len(formats):
            raise ValueError("each format at most once")
        return formats


class Writer(Protocol):
    """A context manager that appends rows to one file."""

    def __enter__(self) -> Self:
        """Open the file."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file."""
        ...

    def write(self, row: Row) -> None:
        """Append one row."""
        ...


class TfrecordWriter(Writer):
    """Writes rows as `tf.train.Example`, one a record, uncompressed."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> Self:
        load_tensorflow()
        import tensorflow as tf

        self._file = tf.io.TFRecordWriter(str(self._path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, row: Row) -> None:
        """Append one row."""
        self._file.write(encode(row))


class ParquetWriter(Writer):
    """Writes rows with the schema SHARD, in row groups of ROW_GROUP."""

    def __init__(self, path: Path):
        self._path = path
        self._rows: list[Row] = []

    def __enter__(self) -> Self:
        # Neither PNGs nor pixels get much smaller, and a dictionary of pictures would only cost memory.
        compression = {name: "NONE" if name == "crop" else "ZSTD" for name in SHARD.names}
        self._file = pq.ParquetWriter(self._path, SHARD, compression=compression, use_dictionary=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._flush()
        self._file.close()

    def write(self, row: Row) -> None:
        """Append one row."""
        self._rows.append(row)
        if len(self._rows) == ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, SHARD))
            self._rows = []


WRITERS: Mapping[Format, type[TfrecordWriter | ParquetWriter]] = {"tfrecord": TfrecordWriter, "parquet": ParquetWriter}


def write_part(rows: Iterable[Row], folder: Path, number: int, formats: Iterable[Format]) -> list[dict[str, Any]]:
    """Write `rows` to `folder` as part `number` in every format, holding no more of them than a row group.

    Returns:
        What the manifest says of each file: its name, subset, format, rows and SHA-256.
    """
    paths = {form: folder / f"part-{number:05d}.{form}" for form in sorted(formats)}
    written = 0
    with ExitStack() as stack:
        writers = [stack.enter_context(WRITERS[form](path)) for form, path in paths.items()]
        for row in rows:
            written += 1
            for writer in writers:
                writer.write(row)
    return [
        {
            "file": f"{folder.name}/{path.name}",
            "subset": folder.name,
            "format": form,
            "rows": written,
            "sha256": sha256_file(path),
        }
        for form, path in paths.items()
    ]


def label_counts(rows: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many rows have each age (years), gender and race code, as text; `unknown` counts the missing."""
    texts = {name: rows[name].astype(str).where(rows[name].notna(), "unknown") for name in LABEL_COLUMNS}
    return {name: dict(sorted(Counter(text).items())) for name, text in texts.items()}


def encode(row: Row) -> bytes:
    """A row as a serialized `tf.train.Example`; the same row always gives the same bytes."""
    import tensorflow as tf

    def of_bytes(value: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def of_label(value: int | None) -> Any:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[MISSING if value is None else value]))

    feature = {"image_id": of_bytes(row["image_id"].encode()), "crop": of_bytes(row["crop"])}
    feature |= {name: of_label(row[name]) for name in LABEL_COLUMNS}
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    serialized: bytes = example.SerializeToString(
        deterministic=True
    )  # the order of a map's keys is not fixed otherwise
    return serialized


def parse(serialized: "tf.Tensor") -> dict[str, "tf.Tensor"]:
    """The columns of a serialized row, scalars: image_id and crop as strings, labels as int64 (MISSING if unknown)."""
    import tensorflow as tf

    features = {name: tf.io.FixedLenFeature([], tf.string) for name in ("image_id", "crop")}
    features |= {name: tf.io.FixedLenFeature([], tf.int64) for name in LABEL_COLUMNS}
    parsed: dict[str, tf.Tensor] = tf.io.parse_single_example(serialized, features)
    return parsed


def dataset(files: "Sequence[Path] | tf.Tensor") -> "tf.data.Dataset":
    """The serialized rows of TFRecord files in the order written, streamed; `parse` makes columns of each.

    Args:
        files: paths, or a string tensor of them.
    """
    import tensorflow as tf

    names = files if tf.is_tensor(files) else [str(file) for file in files]
    return tf.data.TFRecordDataset(names, buffer_size=1 << 20)


def rows(files: "Sequence[Path] | tf.Tensor", form: Format, crops: CropFormat) -> "tf.data.Dataset":
    """The rows of files of one format in the order written, streamed, with columns as `parse` gives them.

    Raw pixels come as they will be needed, uint8 (side, side, 3); PNGs stay strings, which take less room to be mixed.

    Args:
        files: paths, or a string tensor of them.
        form: of all of them.
        crops: how they hold their crops.
    """
    import tensorflow as tf

    raw, shape = crops.pixels == "raw", (crops.side, crops.side, 3)

    def columns(serialized: "tf.Tensor") -> dict[str, "tf.Tensor"]:  # AutoGraph could not look the types up
        row = parse(serialized)
        return {**row, "crop": crops.tensor(row["crop"])} if raw else row

    if form == "tfrecord":
        return dataset(files).map(columns, num_parallel_calls=tf.data.AUTOTUNE)
    names = files if tf.is_tensor(files) else [str(file) for file in files]
    signature = {name: tf.TensorSpec((None,), tf.int64) for name in LABEL_COLUMNS}
    signature["image_id"] = tf.TensorSpec((None,), tf.string)
    signature["crop"] = tf.TensorSpec((None, *shape), tf.uint8) if raw else tf.TensorSpec((None,), tf.string)

    def blocks(name: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_generator(
            lambda name: _parquet_blocks(name, shape if raw else None), output_signature=signature, args=(name,)
        )

    return tf.data.Dataset.from_tensor_slices(names).flat_map(blocks).unbatch()


def _parquet_blocks(name: bytes, shape: tuple[int, ...] | None) -> Iterator[dict[str, Any]]:
    """The columns of a Parquet shard, a block at a time, as TFRecord has them; crops of a shape as one array."""
    for batch in pq.ParquetFile(name.decode()).iter_batches(BLOCK):
        labels = {column: batch.column(column).fill_null(MISSING).to_numpy() for column in LABEL_COLUMNS}
        crops = batch.column("crop")
        held = _together(crops).reshape(-1, *shape) if shape else crops.to_pylist()
        yield {"image_id": batch.column("image_id").to_pylist(), "crop": held, **labels}


def _together(column: pa.BinaryArray) -> np.ndarray:
    """The bytes of all values one after another, where they lie in Arrow's memory."""
    _, offsets, values = column.buffers()
    first, last = np.frombuffer(offsets, np.int32)[[column.offset, column.offset + len(column)]]
    return np.frombuffer(values, np.uint8)[first:last]


def read_manifest(shards: Path) -> dict[str, Any]:
    """The manifest of a folder of shards; SourceError where there is none."""
    if not (shards / MANIFEST).exists():
        raise SourceError(f"{shards / MANIFEST} is missing; run `dvc repro shard`")
    manifest: dict[str, Any] = read_json(shards / MANIFEST)
    return manifest


def shard_files(shards: Path, subset: str, form: Format) -> list[Path]:
    """The files of a subset in one format, in order.

    Raises:
        SourceError: the shards were not written in this format.
    """
    manifest = read_manifest(shards)
    if form not in manifest["formats"]:
        raise SourceError(f"{shards} holds no {form} (shard.formats is {manifest['formats']}); add it to shard.formats")
    return [shards / item["file"] for item in manifest["files"] if item["subset"] == subset and item["format"] == form]


def read_rows(shards: Path, subset: str) -> Iterator[dict[str, Any]]:
    """The rows of a subset one after another, as written: image_id, crop and the labels, None where unknown.

    Reads Parquet where there is some (no TensorFlow needed), TFRecord else; at most BLOCK rows are held.
    """
    if "parquet" in read_manifest(shards)["formats"]:
        for file in shard_files(shards, subset, "parquet"):
            for batch in pq.ParquetFile(file).iter_batches(BLOCK):
                yield from batch.to_pylist()
    else:
        for columns in dataset(shard_files(shards, subset, "tfrecord")).map(parse).as_numpy_iterator():
            labels = {name: None if columns[name] == MISSING else int(columns[name]) for name in LABEL_COLUMNS}
            yield {"image_id": columns["image_id"].decode(), "crop": columns["crop"], **labels}
