"""The rows of shards and what networks answer, side by side, streamed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceline.datasets.crops import CropFormat

if TYPE_CHECKING:  # it imports TensorFlow, which prints its banner unless it is loaded quietly
    from faceline.learning.answering import Answers

BATCH = 256  # crops decoded at a time; bounds the memory, does not change the answers


def predictions(
    rows: Iterable[Mapping[str, Any]], crops: CropFormat, answer: Callable[[npt.NDArray[np.uint8]], "Answers"]
) -> Iterator[pa.Table]:
    """Tables with schema PREDICTIONS, a batch each, for rows with schema SHARD.

    Args:
        rows: of a shard, in order.
        crops: how the shard holds its crops.
        answer: maps crops, uint8 (N, S, S, 3), to the networks' answers.
    """
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH)):
        yield answer(np.stack([crops.unpack(row["crop"]) for row in batch])).beside(batch)
