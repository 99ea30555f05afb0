"""Ingest: read the sources of the chosen dataset, prove every picture, and turn their labels into one table.

Reads data/raw/<dataset>: archives as downloaded, or symbolic links to them. Writes data/ingest: images/part-*.parquet
(the original bytes of each distinct picture), labels.parquet, rejected.parquet (each row with its reason),
overrides.parquet and summary.json.

    python -m stages.ingest --raw data/raw/sample --output data/ingest
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from faceline.console import stderr
from faceline.datasets.ingestion import IngestSettings, ingest
from faceline.datasets.summary import told
from faceline.files import atomic_directory
from faceline.params import chosen, read_settings

LINE_EVERY = 10.0  # seconds between lines of progress where there is no terminal


@contextmanager
def progress() -> Iterator[Callable[[], None]]:
    """Yield what to call after each row: a live line on a terminal, else a plain line on stderr now and then."""
    console = stderr()
    columns = (SpinnerColumn(), TextColumn("ingest: {task.completed} rows"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("ingest", total=None)
        rows, last = 0, time.monotonic()

        def tick() -> None:
            nonlocal rows, last
            rows += 1
            bar.update(task, completed=rows)
            if not console.is_terminal and time.monotonic() - last >= LINE_EVERY:
                last = time.monotonic()
                console.print(f"ingest: {rows} rows")

        yield tick


@click.command()
@click.option("--raw", type=click.Path(path_type=Path), required=True, help="The dataset's files: data/raw/<dataset>.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(raw: Path, output: Path) -> None:
    """Read the sources of the chosen dataset into one table of labels and the pictures' original bytes."""
    dataset, _ = chosen()
    settings = read_settings(IngestSettings, "datasets", dataset, "ingest")
    with atomic_directory(output) as folder, progress() as tick:
        summary = ingest(raw, settings, folder, len(os.sched_getaffinity(0)), tick)
    click.echo(told("ingest", summary))


if __name__ == "__main__":
    main()
