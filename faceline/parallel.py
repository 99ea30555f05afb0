"""The heavy maps, over Dask: a local cluster, or the scheduler of a cluster whose workers share the file system.

Results come back in the order of the items, and none depends on the worker that made it, so tables are the same bytes
whatever the number of workers and whichever of them dies.
"""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Protocol, TypeVar

from distributed import Client, KilledWorker, LocalCluster, as_completed, get_worker
from pydantic import Field
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from faceline.console import stderr
from faceline.errors import WorkError
from faceline.params import Settings

SCHEDULER = "DASK_SCHEDULER_ADDRESS"
ADDRESS = r"^(tcp|tls|ws|wss)://\S+:\d+$"
RETRIES = 2  # of a task that raised; one whose worker died is tried as often as Dask's `allowed-failures` says, 3 times
PATIENCE = 60  # seconds that a named scheduler and its first worker may take to answer
# One thread a process: Dask sets OMP_NUM_THREADS, TensorFlow has variables of its own.
SINGLE = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
COUNT_GPUS = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"


class ClusterSettings(Settings):
    """Where the heavy maps run: this machine, unless a scheduler is named. Results do not depend on it."""

    scheduler: Annotated[str, Field(pattern=ADDRESS)] | None = None
    processes: Annotated[int, Field(ge=1)] | None = None


class Part(Protocol):
    """The work of one task."""

    def __len__(self) -> int:
        """How many pictures it has."""

    def __str__(self) -> str:
        """What to call it when it fails."""


Item = TypeVar("Item", bound=Part)
Result = TypeVar("Result")


def map_parts(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    title: str,
    cluster: ClusterSettings,
    *,
    on_gpus: bool = False,
) -> list[Result]:
    """`function` of each item, on all workers, in the order of `items`; shows progress.

    A task that raises, or whose worker dies, is tried again.

    Args:
        on_gpus: whether the function uses a GPU; where there are any, there is one local worker a GPU, not one a core.

    Raises:
        WorkError: the named cluster does not answer, or an item failed each time.
    """
    if not items:
        return []
    gpus = local_gpus() if on_gpus else []
    results: dict[int, Result] = {}
    with _client(cluster, len(items), len(gpus)) as client, _progress() as progress:
        task = progress.add_task(title, total=sum(map(len, items)))
        futures = {
            client.submit(_alone, function, item, gpus, key=f"{title}-{uuid.uuid4()}", retries=RETRIES): index
            for index, item in enumerate(items)
        }
        for future in as_completed(list(futures)):
            index = futures[future]
            try:
                results[index] = future.result()
            except KilledWorker:
                reason = "the worker died each time that it was tried; is memory short?"
                raise WorkError(f"{title}: {items[index]}: {reason}") from None
            except Exception as error:
                raise WorkError(f"{title}: {items[index]}: {type(error).__name__}: {error}") from error
            progress.advance(task, len(items[index]))
    return [results[index] for index in range(len(items))]


def local_gpus() -> list[str]:
    """The GPUs of this machine that TensorFlow can use, by the names that CUDA_VISIBLE_DEVICES knows."""
    if not shutil.which("nvidia-smi"):
        return []
    # In a process of its own: one that has looked holds on to them.
    answer = subprocess.run([sys.executable, "-c", COUNT_GPUS], capture_output=True, text=True, check=False)
    count = int(answer.stdout) if answer.stdout.strip().isdigit() else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",")[:count] if visible else [str(index) for index in range(count)]


def _alone(function: Callable[[Item], Result], item: Item, gpus: list[str]) -> Result:
    """What a worker runs: the function, on one thread and on a GPU of its own."""
    for variable, value in SINGLE.items():
        os.environ.setdefault(variable, value)
    name = get_worker().name  # of a local worker a number, counted from 0
    if gpus and isinstance(name, int):
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[name % len(gpus)]
    return function(item)


@contextmanager
def _client(settings: ClusterSettings, tasks: int, gpus: int) -> Iterator[Client]:
    address = os.environ.get(SCHEDULER) or settings.scheduler
    if address:
        with _connected(address) as client:
            yield client
        return
    workers = min(settings.processes or gpus or len(os.sched_getaffinity(0)), tasks)
    local = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    with local, Client(local) as client:
        yield client


def _connected(address: str) -> Client:
    """A client of a running scheduler that has a worker."""
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise WorkError(f"no Dask scheduler answers at {address}: {error}") from None
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        client.close()
        raise WorkError(f"the Dask scheduler at {address} has no worker; start one: dask worker {address}") from None
    return client


class _Rate(ProgressColumn):
    """Pictures a second."""

    def render(self, task: Task) -> Text:
        """The average so far; parts end together, so what ended of late says little."""
        return Text(f"{task.completed / task.elapsed:.0f} pictures/s" if task.completed and task.elapsed else "")


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=stderr(), transient=False)
