"""Taking and encoding many pictures, in as many processes as there are cores; the bytes do not depend on how many."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from rich.console import Console
from rich.progress import track

from faceline.datasets.sample.encoding import FORMS
from faceline.datasets.sample.picture import take
from faceline.datasets.sample.population import Row

CHUNK = 8  # rows given to a process at a time


def encode(row: Row) -> bytes:
    """The bytes of a row's picture."""
    return FORMS[row.form](take(row.shot))


def encode_all(rows: Sequence[Row], workers: int | None = None) -> Iterator[bytes]:
    """The bytes of each row's picture, in order, from `workers` processes (default: one a core that may be used)."""
    workers = workers or len(os.sched_getaffinity(0))
    console = Console(stderr=True)
    if workers == 1:
        yield from track(map(encode, rows), "sample", len(rows), console=console, disable=not console.is_terminal)
        return
    # spawned, because a process that has threads (TensorFlow's, say) cannot be forked safely
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        encoded = pool.map(encode, rows, chunksize=CHUNK)
        yield from track(encoded, "sample", len(rows), console=console, disable=not console.is_terminal)
