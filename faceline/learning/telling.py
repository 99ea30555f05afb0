"""What `faceline predict` says of pictures: as JSON, or as a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from faceline.console import printable

if TYPE_CHECKING:
    from faceline.learning.bundle import FaceAnswer
    from faceline.learning.card import Card

COLUMNS = ("picture", "box", "score", "age", "gender", "race")


@dataclass(frozen=True)
class Judged:
    """What became of one picture: its faces, or why it could not be used (`reason: detail`)."""

    picture: Path
    faces: tuple["FaceAnswer", ...] = ()
    error: str | None = None


def picture_record(judged: Judged, card: "Card") -> dict[str, Any]:
    """What is printed as JSON of one picture; a target that the bundle lacks is left out."""
    if judged.error:
        return {"picture": printable(judged.picture), "error": judged.error}
    return {"picture": printable(judged.picture), "faces": [face_record(answer, card) for answer in judged.faces]}


def pictures_table(judged: Sequence[Judged], card: "Card") -> Table:
    """The table that is printed: a row a face, and one for a picture without."""
    table = Table(*COLUMNS)
    for item in judged:
        if not item.faces:
            table.add_row(Text(printable(item.picture)), Text(item.error or "no face"), *("" for _ in COLUMNS[2:]))
        for answer in item.faces:
            table.add_row(Text(printable(item.picture)), *_cells(face_record(answer, card)))
    return table


def face_record(answer: "FaceAnswer", card: "Card") -> dict[str, Any]:
    """One face as plain values: box and score, and what the bundle says of each target."""
    face = answer.face
    box = {"x": face.x, "y": face.y, "width": face.width, "height": face.height}
    record: dict[str, Any] = {"box": box, "score": face.score}
    if answer.age is not None:
        record["age"] = {"years": answer.age, "low": _known(answer.age_low), "high": _known(answer.age_high)}
    if answer.female_probability is not None:
        male, female = card.labels["gender"]
        record["gender"] = _most_likely({female: answer.female_probability, male: 1 - answer.female_probability})
    if answer.race_probabilities is not None:
        record["race"] = _most_likely(dict(zip(card.labels["race"], answer.race_probabilities, strict=True)))
    return record


def _known(bound: float | None) -> float | None:
    """A bound of an interval; None where the bundle has no interval, which JSON cannot say as NaN."""
    return None if bound is None or math.isnan(bound) else bound


def _most_likely(probabilities: dict[str, float]) -> dict[str, Any]:
    label = max(probabilities, key=lambda name: probabilities[name])
    return {"label": label, "probability": probabilities[label], "probabilities": probabilities}


def _cells(record: dict[str, Any]) -> list[str]:
    """The cells of a face's row behind the picture's name; empty where the bundle has no such target."""
    box = "{width}x{height} at {x}, {y}".format(**record["box"])
    age = _age(**record["age"]) if "age" in record else ""
    labels = (
        "{label} {probability:.0%}".format(**record[name]) if name in record else "" for name in ("gender", "race")
    )
    return [box, f"{record['score']:.2f}", age, *labels]


def _age(years: float, low: float | None, high: float | None) -> str:
    return f"{years:.0f}" if low is None or high is None else f"{years:.0f} ({low:.0f} to {high:.0f})"
