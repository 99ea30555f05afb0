"""The command `faceline`.

    faceline predict PICTURE… [--bundle models/bundle] [--json]

finds the faces in pictures and says how old they look, of which gender and race, as a table or as JSON;

    faceline compare A B [--json]

says whether one bundle's predictions are better than another's on the same pictures, or may differ by chance;

    faceline teach BUNDLE OUTPUT [--shards data/shards]

writes what a bundle answers to the training pictures, for a smaller network to learn from.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from PIL import Image
from rich.console import Console
from rich.table import Table

from faceline.console import load_tensorflow
from faceline.errors import PictureError
from faceline.evaluation.telling import comparison_record, comparison_sentence, comparison_table
from faceline.learning.telling import Judged, picture_record, pictures_table

if TYPE_CHECKING:
    from faceline.learning.bundle import Predictor

NARROWEST = 120  # characters; a narrower terminal or a pipe would cut the table's names


@click.group()
@click.version_option(package_name="faceline")
def main() -> None:
    """Face age, gender and race: predictions from a trained bundle, and which of two bundles is better."""


@main.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    default=Path("models/bundle"),
    show_default=True,
    help="A trained bundle.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def predict(pictures: Sequence[Path], bundle: Path, as_json: bool) -> None:
    """Find the faces in PICTURES; age with its interval, gender and race of each.

    Exits with 1 if a picture could not be read; the others are judged all the same.
    """
    load_tensorflow()
    from faceline.learning.bundle import Predictor

    predictor = Predictor(bundle)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bundle has a limit of its own
        judged = [judge(predictor, picture) for picture in pictures]
    if as_json:
        _print_json([picture_record(item, predictor.card) for item in judged])
    else:
        _print_table(pictures_table(judged, predictor.card))
    for item in judged:
        if item.error:
            click.echo(f"{item.picture}: {item.error}", err=True)
    if any(item.error for item in judged):
        raise SystemExit(1)


@main.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--samples", default=2000, show_default=True, help="How often rows are drawn anew for an interval.")
@click.option("--seed", default=1, show_default=True, help="Of these draws.")
@click.option("--level", default=0.95, show_default=True, help="Of the intervals, between 0 and 1.")
def compare(a: Path, b: Path, *, as_json: bool, samples: int, seed: int, level: float) -> None:
    """Is B better than A? Each is a predictions.parquet or a folder that has one.

    Rows are compared in pairs, by image_id. Exits with 0 whatever the answer.
    """
    from faceline.evaluation import comparing

    first, second = comparing.predictions_file(a), comparing.predictions_file(b)
    comparison = comparing.compare(
        comparing.read_predictions(first),
        comparing.read_predictions(second),
        samples=samples,
        seed=seed,
        level=level,
        names=(str(first), str(second)),
    )
    if as_json:
        _print_json({"a": str(first), "b": str(second), **comparison_record(comparison)})
    else:
        _print_table(comparison_table(comparison))
        click.echo(comparison_sentence(comparison))


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--shards",
    type=click.Path(path_type=Path),
    default=Path("data/shards"),
    show_default=True,
    help="The folder of the shards.",
)
def teach(bundle: Path, output: Path, shards: Path) -> None:
    """Write what BUNDLE answers to the training pictures to OUTPUT, a table for `distill` of a recipe."""
    load_tensorflow()
    from faceline.learning import teaching
    from faceline.learning.teacher import write_answers

    answers = teaching.teach(bundle, shards)
    write_answers(output, answers)
    click.echo(f"{output}: {', '.join(answers.answers)} of {len(answers.image_ids)} pictures")


def judge(predictor: "Predictor", picture: Path) -> Judged:
    """The faces of one picture, or why it could not be used."""
    try:
        return Judged(picture, faces=tuple(predictor.predict([picture.read_bytes()])[0]))
    except OSError as error:
        return Judged(picture, error=f"unreadable_file: {error.strerror}")
    except PictureError as error:
        return Judged(picture, error=f"{error.reason}: {error.detail}")


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(table: Table) -> None:
    console = Console()
    console.width = max(console.width, NARROWEST)
    console.print(table)
