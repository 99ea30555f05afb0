"""Judging a bundle on any dataset that a reader understands, streamed from its source; no stage has to run.

Each distinct picture is judged once: on the crop of its face where `crop` would keep it, and beside that, so that hard
pictures cannot be left out unnoticed, on every readable row. A row without a single face shows the whole picture then.
Pictures are held by the batch, answers for all rows.
"""

import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceline.datasets.detections import chunks, detect_each
from faceline.datasets.labels import OLDEST
from faceline.datasets.sources.source import Item, Labels, Rejection
from faceline.datasets.tables import PREDICTIONS
from faceline.errors import PictureError, SourceError
from faceline.evaluation.metrics import Constants, coverage, evaluate
from faceline.faces.cropping import CropSettings, crop_face, only_face, whole_crop
from faceline.faces.decoding import decode
from faceline.faces.detection import DetectSettings, Face, whole_picture
from faceline.faces.detector import Detector
from faceline.faces.quality import fault, measure

Pixels = npt.NDArray[np.uint8]
ANSWERS = {"age": "age_predicted", "gender": "female_probability", "race": "race_probabilities"}  # columns
Row = dict[str, Any]  # image_id, group, age, gender, race; None where the source says nothing


class Answers(Protocol):
    """What the networks say of crops: `faceline.learning.answering.Answers`."""

    def beside(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """A table with schema PREDICTIONS."""
        ...


@dataclass(frozen=True)
class Bundle:
    """A bundle's networks on crops, uint8 (n, size, size, 3), and the way of a picture to them that its card tells."""

    answer: Callable[[Pixels], Answers]
    constants: Constants
    detect: DetectSettings
    crop: CropSettings
    max_pixels: int
    min_side: int
    temperatures: Mapping[str, float] = field(default_factory=dict)  # by target, what logits are divided by
    search: bool = True  # False: every picture is a face already, whatever the card says

    @property
    def detector(self) -> Detector:
        """What finds faces."""
        return Detector(self.detect if self.search else DetectSettings(enabled=False))

    @property
    def whole(self) -> CropSettings:
        """How a whole picture becomes a crop."""
        return whole_crop(self.crop, self.detect)


@dataclass(frozen=True)
class Evaluation:
    """What came out.

    Attributes:
        metrics: as models/metrics.json, with `slices` and `crossings`; further `all_readable`, the same without the
            choice that finding faces makes, and `rows_in`, `rejected` (counts by reason) and `implausible_ages` of the
            source. In `coverage`, `cleaned` counts each distinct readable picture once.
        predictions: schema PREDICTIONS, of the rows that the metrics (not those of all_readable) were computed from.
    """

    metrics: dict[str, Any]
    predictions: pa.Table


@dataclass
class _Rows:
    """The rows of a source on their way: decoded, counted, each distinct picture once."""

    bundle: Bundle
    tick: Callable[[], None]
    total: int = 0
    readable: int = 0
    implausible_ages: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    seen: set[bytes] = field(default_factory=set)  # SHA-256 of the pictures so far
    people: dict[str, str] = field(default_factory=dict)  # the first picture of each subject, which names the group

    def pictures(self, items: Iterable[Item]) -> Iterator[tuple[Row, Pixels]]:
        """Labels and pixels of each distinct readable picture."""
        limits = {"max_pixels": self.bundle.max_pixels, "min_side": self.bundle.min_side}
        for item in items:
            self.total += 1
            self.tick()
            if isinstance(item, Rejection):
                self.rejected[item.reason] += 1
                continue
            try:
                pixels = decode(item.data, **limits)
            except PictureError as error:
                self.rejected[error.reason] += 1
                continue
            self.readable += 1
            key = hashlib.sha256(item.data)
            if key.digest() in self.seen:
                self.rejected["duplicate"] += 1
                continue
            self.seen.add(key.digest())
            yield self._row(key.hexdigest(), item.labels), pixels

    def _row(self, image_id: str, labels: Labels) -> Row:
        """The labels; an age that nobody has is as good as none (archives hold ages of -31 and 1,200)."""
        age = labels.age
        if age is not None and not 0 <= age <= OLDEST:
            self.implausible_ages += 1
            age = None
        group = self.people.setdefault(labels.subject, image_id) if labels.subject else None
        return {"image_id": image_id, "group": group, "age": age, "gender": labels.gender, "race": labels.race}


def evaluate_items(
    items: Iterable[Item], bundle: Bundle, name: str, tick: Callable[[], None] = lambda: None
) -> Evaluation:
    """Judge `bundle` on the items of a source.

    Args:
        items: as its reader gives them.
        bundle: what is judged.
        name: what errors call the source.
        tick: called after each row.

    Raises:
        SourceError: there is no row, no readable picture, or no label of anything that the bundle answers.
    """
    rows, detector = _Rows(bundle, tick), bundle.detector
    tables, reasons = [PREDICTIONS.empty_table()], list[str | None]()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # `decode` judges what Pillow warns of
        for chunk in chunks(rows.pictures(items)):
            found = detect_each(detector, [pixels for _, pixels in chunk])
            crops = [_crop(pixels, faces, bundle) for (_, pixels), faces in zip(chunk, found, strict=True)]
            reasons += [reason for _, reason in crops]
            answers = bundle.answer(np.stack([crop for crop, _ in crops]))
            tables.append(answers.beside([row for row, _ in chunk]))
    everything = pa.concat_tables(tables)
    _require_rows(rows, everything, name)
    rows.rejected.update(reason for reason in reasons if reason)
    judged = everything.filter(pa.array([reason is None for reason in reasons]))
    metrics = {
        **evaluate(judged, bundle.constants, bundle.temperatures),
        "coverage": coverage(rows.readable, len(everything), len(judged)),
        "all_readable": evaluate(everything, bundle.constants, bundle.temperatures),
        "rows_in": rows.total,
        "rejected": dict(sorted(rows.rejected.items())),
        "implausible_ages": rows.implausible_ages,
    }
    return Evaluation(metrics, judged)


def _crop(pixels: Pixels, faces: list[Face] | str, bundle: Bundle) -> tuple[Pixels, str | None]:
    """What the networks see of a picture, and why `crop` would not keep it, if so."""
    face = ("detector_failed", faces) if isinstance(faces, str) else only_face(faces, bundle.crop)
    if isinstance(face, tuple):
        return crop_face(pixels, whole_picture(pixels.shape[1], pixels.shape[0]), bundle.whole), face[0]
    crop = crop_face(pixels, face, bundle.crop if bundle.search else bundle.whole)
    wrong = fault(measure(crop, min(face.width, face.height)), bundle.crop.quality)
    return crop, wrong[0] if wrong else None


def _require_rows(rows: _Rows, table: pa.Table, name: str) -> None:
    """Refuse a source that nothing can be said of."""
    if not rows.total:
        raise SourceError(f"{name} holds no picture")
    if not rows.readable:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(rows.rejected.items()))
        raise SourceError(f"{name} has {rows.total} rows, but no picture that can be used: {reasons}")
    answered = [target for target, column in ANSWERS.items() if table.column(column).null_count < len(table)]
    if all(table.column(target).null_count == len(table) for target in answered):
        raise SourceError(f"{name} has no label of what the bundle answers: {', '.join(answered)}")
