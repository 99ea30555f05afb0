"""Which rows of a predictions table are not independent: those of one group of the split."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from faceline.datasets.tables import PREDICTIONS
from faceline.errors import SourceError
from faceline.files import read_table


def grouped(predictions: pa.Table, split: Path) -> pa.Table:
    """A table with schema PREDICTIONS with the groups that lie in the folder of `split`.

    Raises:
        SourceError: the split has not assigned a picture.
    """
    assignment = read_table(split / "assignment.parquet", ["image_id", "group"])
    places = pc.index_in(predictions["image_id"], assignment["image_id"])
    if places.null_count:
        raise SourceError(f"{places.null_count} judged pictures are not in {split}; run `dvc repro`")
    column = predictions.schema.get_field_index("group")
    return predictions.set_column(column, PREDICTIONS.field("group"), assignment["group"].take(places))
