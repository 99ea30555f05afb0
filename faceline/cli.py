"""The command `faceline`.

    faceline predict PICTURE… [--bundle models/bundle] [--json]

finds the faces in pictures and says how old they look, of which gender and race, as a table or as JSON.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from PIL import Image
from rich.console import Console
from rich.table import Table

from faceline.console import load_tensorflow
from faceline.errors import PictureError

if TYPE_CHECKING:
    from faceline.learning.bundle import FaceAnswer, Predictor
    from faceline.learning.card import Card

COLUMNS = ("picture", "box", "score", "age", "gender", "race")
NARROWEST = 120  # characters; a narrower terminal or a pipe would cut the table's names


@dataclass(frozen=True)
class Judged:
    """What became of one picture: its faces, or why it could not be used (`reason: detail`)."""

    picture: Path
    faces: tuple["FaceAnswer", ...] = ()
    error: str | None = None


@click.group()
@click.version_option(package_name="faceline")
def main() -> None:
    """Face age, gender and race: predictions from a trained bundle."""


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
        click.echo(json.dumps([as_record(item, predictor.card) for item in judged], indent=2, ensure_ascii=False))
    else:
        console = Console()
        console.width = max(console.width, NARROWEST)
        console.print(as_table(judged, predictor.card))
    for item in judged:
        if item.error:
            click.echo(f"{item.picture}: {item.error}", err=True)
    if any(item.error for item in judged):
        raise SystemExit(1)


def judge(predictor: "Predictor", picture: Path) -> Judged:
    """The faces of one picture, or why it could not be used."""
    try:
        return Judged(picture, faces=tuple(predictor.predict([picture.read_bytes()])[0]))
    except OSError as error:
        return Judged(picture, error=f"unreadable_file: {error.strerror}")
    except PictureError as error:
        return Judged(picture, error=f"{error.reason}: {error.detail}")


def as_record(judged: Judged, card: "Card") -> dict[str, Any]:
    """What is printed as JSON of one picture; a target that the bundle lacks is left out."""
    if judged.error:
        return {"picture": str(judged.picture), "error": judged.error}
    return {"picture": str(judged.picture), "faces": [_face_record(answer, card) for answer in judged.faces]}


def as_table(judged: Sequence[Judged], card: "Card") -> Table:
    """The table that is printed: a row a face, and one for a picture without."""
    table = Table(*COLUMNS)
    for item in judged:
        if not item.faces:
            table.add_row(str(item.picture), item.error or "no face", *("" for _ in COLUMNS[2:]))
        for answer in item.faces:
            table.add_row(str(item.picture), *_cells(_face_record(answer, card)))
    return table


def _face_record(answer: "FaceAnswer", card: "Card") -> dict[str, Any]:
    """One face as plain values: box and score, and what the bundle says of each target."""
    face = answer.face
    box = {"x": face.x, "y": face.y, "width": face.width, "height": face.height}
    record: dict[str, Any] = {"box": box, "score": face.score}
    if answer.age is not None:
        record["age"] = {"years": answer.age, "low": answer.age_low, "high": answer.age_high}
    if answer.female_probability is not None:
        male, female = card.labels["gender"]
        record["gender"] = _most_likely({female: answer.female_probability, male: 1 - answer.female_probability})
    if answer.race_probabilities is not None:
        record["race"] = _most_likely(dict(zip(card.labels["race"], answer.race_probabilities, strict=True)))
    return record


def _most_likely(probabilities: dict[str, float]) -> dict[str, Any]:
    label = max(probabilities, key=lambda name: probabilities[name])
    return {"label": label, "probability": probabilities[label], "probabilities": probabilities}


def _cells(record: dict[str, Any]) -> list[str]:
    """The cells of a face's row behind the picture's name; empty where the bundle has no such target."""
    box = "{width}x{height} at {x}, {y}".format(**record["box"])
    age = "{years:.0f} ({low:.0f} to {high:.0f})".format(**record["age"]) if "age" in record else ""
    labels = (
        "{label} {probability:.0%}".format(**record[name]) if name in record else "" for name in ("gender", "race")
    )
    return [box, f"{record['score']:.2f}", age, *labels]
