"""Render the synthetic sample and pack it as IMDB-WIKI packs its pictures, faults included.

Reads nothing but params.yaml, writes wiki_crop.tar, labels.csv (race), overrides.csv (known wrong rows) and truth.csv
(what must become of each faulty row). Run it with `dvc repro sample`; another layout, for trying another reader, with
`python -m stages.sample --layout utkface --output DIR`.
"""

from pathlib import Path

import click

from faceline.datasets.sample.layouts import LAYOUTS, write_sample
from faceline.datasets.sample.settings import SampleSettings
from faceline.params import read_settings


@click.command(help=__doc__)
@click.option(
    "--layout", type=click.Choice(list(LAYOUTS)), default="imdb_wiki", show_default=True, help="Of which dataset."
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(layout: str, output: Path) -> None:
    """Read the settings, write the sample."""
    rows = write_sample(read_settings(SampleSettings, "sample"), layout, output)
    click.echo(f"{output}: {rows} rows", err=True)


if __name__ == "__main__":
    main()
