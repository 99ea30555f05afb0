"""Put counts, pictures, gates and metrics on one page that works offline, and compose the model card.

Reads whatever the stages have left below data and models. A missing table makes its section say so and a failed gate is
shown, so the report can be made at any moment: `python -m stages.report` with the options in dvc.yaml.
Writes data/report/index.html and models/CARD.md. Run it with `dvc repro report`.
"""

from pathlib import Path

import click

from faceline.evaluation.card import model_card
from faceline.evaluation.material import gather
from faceline.evaluation.page import page
from faceline.evaluation.pictures import ReportSettings
from faceline.files import atomic_directory, atomic_file
from faceline.params import chosen, read_settings


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder of the stages' tables.")
@click.option("--models", type=click.Path(path_type=Path), required=True, help="The folder of bundle and metrics.")
@click.option("--card", type=click.Path(path_type=Path), required=True, help="The model card to write.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(data: Path, models: Path, card: Path, output: Path) -> None:
    """Read, compose, write."""
    settings = read_settings(ReportSettings, "report")
    material = gather(data, models)
    dataset, recipe = chosen()
    if material.card:  # what is chosen may not have been trained yet
        dataset, recipe = material.card["dataset"], material.card["recipe"]["name"]
    with atomic_directory(output) as folder:
        (folder / "index.html").write_text(page(material, dataset, recipe, settings), encoding="utf-8")
    with atomic_file(card) as partial:
        partial.write_text(model_card(material, dataset, recipe), encoding="utf-8")


if __name__ == "__main__":
    main()
