"""A teacher's answers for pictures of the training set: the table that distillation learns from beside the labels.

A Parquet file, keyed by image_id, so that a student can be trained again without the teacher. Its columns:

    image_id              text, each once
    age_distribution      list of 117 numbers: the probability of each one-year bin, or
    age                   a number: years
    female_probability    a number
    race_probabilities    list of 5 numbers, by race code

All but image_id may be absent, not all of them; nothing is null. `faceline teach` writes such a table from a bundle.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from faceline.datasets.labels import AGE_BINS, OLDEST, RACES
from faceline.datasets.sources.columns import damage_named
from faceline.errors import SourceError
from faceline.files import read_table, write_table

COLUMNS = {  # target and numbers a row of each column
    "age_distribution": ("age", AGE_BINS),
    "age": ("age", 1),
    "female_probability": ("gender", 1),
    "race_probabilities": ("race", len(RACES)),
}
SUM_TOLERANCE = 0.01  # by which probabilities may miss 1: 117 of them, rounded to half precision
NEGLIGIBLE = 1e-5  # a smaller probability is written as 0, so that the table packs well


@dataclass(frozen=True)
class Teacher:
    """A teacher's answers for n pictures.

    Attributes:
        image_ids: of the pictures.
        answers: by target, float16 (n, k): age as a distribution (k = 117) or in years (k = 1); gender as the
            probability of female (k = 1); race as probabilities (k = 5).
    """

    image_ids: list[str]
    answers: Mapping[str, np.ndarray]


def read_answers(path: Path) -> Teacher:
    """The answers in a table.

    Raises:
        SourceError: it is no such table; the message names the file, and the column and row that are wrong.
    """
    with damage_named(path):
        table = read_table(path)
    _require_columns(path, table)
    ids = table["image_id"].combine_chunks()
    if ids.null_count or len(ids.unique()) < len(ids) or not len(ids):
        raise SourceError(f"{path}: image_id must name at least one picture, and each once")
    return Teacher(
        image_ids=ids.to_pylist(),
        answers={COLUMNS[name][0]: _numbers(path, table, name) for name in table.column_names if name in COLUMNS},
    )


def write_answers(path: Path, teacher: Teacher) -> None:
    """Write a table that `read_answers` reads; some 2 MB for 16,000 pictures with a distribution of ages each."""
    columns: dict[str, pa.Array] = {"image_id": pa.array(teacher.image_ids, pa.string())}
    for name, (target, width) in COLUMNS.items():
        answers = teacher.answers.get(target)
        if answers is None or answers.shape[1] != width:
            continue
        kept = answers if name == "age" else np.where(answers < NEGLIGIBLE, 0, answers)
        flat = pa.array(np.ascontiguousarray(kept, np.float16).reshape(-1))
        columns[name] = flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)
    table = pa.table(columns)
    write_table(path, table, table.schema)


def _require_columns(path: Path, table: pa.Table) -> None:
    found = table.column_names
    allowed = ("image_id", *COLUMNS)
    wrong = [name for name in found if name not in allowed or found.count(name) > 1]
    if wrong or "image_id" not in found or len(found) < 2 or {"age", "age_distribution"} <= set(found):
        told = "image_id and at least one of age_distribution or age, female_probability, race_probabilities"
        raise SourceError(f"{path} has the columns {', '.join(found)}; a teacher's answers are {told}")
    if table.schema.field("image_id").type not in (pa.string(), pa.large_string()):
        raise SourceError(f"{path}: image_id is {table.schema.field('image_id').type}, not string")


def _numbers(path: Path, table: pa.Table, name: str) -> np.ndarray:
    """A column as float16 (n, k), every row of it checked."""
    width = COLUMNS[name][1]
    column = table[name].combine_chunks()
    listed = pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)
    flat = column.flatten() if listed else column
    lengths = {width} if not listed or not len(column) else set(column.value_lengths().to_pylist())
    fits = listed == (width > 1) and lengths == {width} and len(flat) == len(table) * width
    if not fits or not pa.types.is_floating(flat.type):
        wanted = "a number with a fraction" if width == 1 else f"a list of {width} numbers with a fraction"
        raise SourceError(f"{path}: {name} is {column.type}, not {wanted} in every row")
    values = flat.to_numpy(zero_copy_only=False).reshape(-1, width).astype(np.float64)  # a null becomes NaN
    top = OLDEST if name == "age" else 1
    right = ((values >= 0) & (values <= top)).all(axis=1)  # false of NaN
    if width > 1:
        right &= np.abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE
    if not right.all():
        row = int(np.argmin(right))
        rule = f"from 0 to {top}" if width == 1 else "probabilities that add up to 1"
        told = (
            values[row, 0]
            if width == 1
            else f"{values[row].min():g} to {values[row].max():g}, sum {values[row].sum():g}"
        )
        raise SourceError(f"{path}: {name} of {table['image_id'][row]} is {told}; allowed: {rule}")
    return np.asarray(values, np.float16)
