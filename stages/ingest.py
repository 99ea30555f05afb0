"""Ingest: read the sources of the chosen dataset, prove every picture, and turn their labels into one table.

Reads data/raw/<dataset>: archives as downloaded, or symbolic links to them. Writes data/ingest: images/part-*.parquet
(the original bytes of each distinct picture), labels.parquet, rejected.parquet (each row with its reason),
overrides.parquet and summary.json.

    python -m stages.ingest --raw data/raw/sample --output data/ingest
"""

import os
from pathlib import Path

import click

from faceline.console import counting
from faceline.datasets.ingestion import IngestSettings, ingest
from faceline.datasets.summary import told
from faceline.files import atomic_directory
from faceline.params import chosen, read_settings


@click.command()
@click.option("--raw", type=click.Path(path_type=Path), required=True, help="The dataset's files: data/raw/<dataset>.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(raw: Path, output: Path) -> None:
    """Read the sources of the chosen dataset into one table of labels and the pictures' original bytes."""
    dataset, _ = chosen()
    settings = read_settings(IngestSettings, "datasets", dataset, "ingest")
    with atomic_directory(output) as folder, counting("ingest") as tick:
        summary = ingest(raw, settings, folder, len(os.sched_getaffinity(0)), tick=tick, tell=click.echo)
    click.echo(told("ingest", summary))


if __name__ == "__main__":
    main()
