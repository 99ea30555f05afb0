"""What a benchmark has in common with the others: measuring a command with all that it starts, and showing growth."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import psutil  # type: ignore[import-untyped]  # it has no stubs

INTERVAL = 0.05  # seconds between two looks at the memory


@dataclass(frozen=True)
class Usage:
    """What a command took, together with every process below it."""

    seconds: float
    cpu_seconds: float  # user and system, of the processes that were waited for
    peak_bytes: int  # resident at one moment; a page that two processes share counts twice
    largest_bytes: int  # resident in the largest single process at one moment


def measure(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Usage:
    """Run `command` in `folder`, its stdout on our stderr, and measure it.

    Memory is the largest sum over the process and its descendants seen every INTERVAL, or what the kernel knows of the
    largest single one of them (getrusage(2)), if that is more. Keep the calling process small: the kernel counts a new
    process from what its parent held.

    Raises:
        ClickException: the command failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=sys.stderr)
    peak = largest = 0
    try:
        while not (waited := os.wait4(process.pid, os.WNOHANG))[0]:
            sizes = _resident(process.pid)
            peak, largest = max(peak, sum(sizes)), max(largest, *sizes, 0)
            time.sleep(INTERVAL)
    except BaseException:
        process.kill()
        process.wait()
        raise
    seconds = time.perf_counter() - start
    _, status, usage = waited
    process.returncode = os.waitstatus_to_exitcode(status)  # else Popen believes that it still runs
    if process.returncode:
        raise click.ClickException(f"`{' '.join(command)}` ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    largest = max(largest, usage.ru_maxrss * unit)
    cpu_seconds = round(usage.ru_utime + usage.ru_stime, 2)
    return Usage(round(seconds, 2), cpu_seconds, max(peak, largest), largest)


def _resident(pid: int) -> list[int]:
    """Bytes that a process and each of its descendants have in memory; what has just ended counts nothing."""
    sizes = []
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            sizes.append(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return sizes
    return sizes


def show_growth(runs: Sequence[Mapping[str, float]], as_json: bool, **about: str) -> None:
    """Print rows, seconds and peak_bytes of each run and, of several sizes, by how many bytes a row the peak grew."""
    first, last = runs[0], runs[-1]
    rows = last["rows"] - first["rows"]
    growth = round((last["peak_bytes"] - first["peak_bytes"]) / rows) if rows else None
    if as_json:
        click.echo(json.dumps({**about, "runs": runs, "bytes_per_row": growth}, indent=2))
        return
    for run in runs:
        rate, peak = run["rows"] / run["seconds"], run["peak_bytes"] / 2**20
        click.echo(f"{run['rows']:>9.0f} rows {run['seconds']:8.1f} s {rate:8.0f} pictures/s {peak:8.0f} MiB at most")
    if growth is not None:
        click.echo(f"each further row: {growth} bytes")
