"""The heavy maps, over Dask: a local cluster of one process a core, or the cluster named by DASK_SCHEDULER_ADDRESS.

Results come back in the order of the items, so tables do not depend on the number of workers.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from distributed import Client, LocalCluster, as_completed
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from faceline.console import stderr

SCHEDULER = "DASK_SCHEDULER_ADDRESS"
RETRIES = 2  # of a task whose worker was killed or that raised

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_parts(function: Callable[[Item], Result], items: Sequence[Item], title: str) -> list[Result]:
    """`function` of each item, on all workers, in the order of `items`; shows progress.

    An item is one part of a table; workers share the file system. A task is tried again if its worker dies.
    """
    if not items:
        return []
    results: dict[int, Result] = {}
    with _client(len(items)) as client, _progress() as progress:
        task = progress.add_task(title, total=len(items))
        futures = {
            client.submit(function, item, pure=False, retries=RETRIES): index for index, item in enumerate(items)
        }
        for future, result in as_completed(list(futures), with_results=True):
            results[futures[future]] = result
            progress.advance(task)
    return [results[index] for index in range(len(items))]


@contextmanager
def _client(tasks: int) -> Iterator[Client]:
    address = os.environ.get(SCHEDULER)
    if address:
        with Client(address) as client:
            yield client
        return
    workers = min(len(os.sched_getaffinity(0)), tasks)
    # One thread a process: Dask sets OMP_NUM_THREADS to 1, TensorFlow has a variable of its own.
    environment: dict[str, Any] = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", env=environment)
    with cluster, Client(cluster) as client:
        yield client


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=stderr(), transient=False)
