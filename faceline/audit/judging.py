"""From rows of the table to verdicts: pictures go the way of training, answers are compared with what is stated."""

import base64
import dataclasses
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from faceline.audit.profiles import STATED, Profile
from faceline.audit.verdicts import Verdict, category, holm, strength
from faceline.datasets.detections import chunks, detect_each
from faceline.datasets.labels import GENDERS, Gender
from faceline.errors import PictureError
from faceline.evaluation.judged import THRESHOLD
from faceline.faces.cropping import CropSettings, crop_face, only_face
from faceline.faces.decoding import decode
from faceline.faces.detection import Face
from faceline.faces.detector import Detector
from faceline.faces.quality import fault, measure
from faceline.learning import conformal
from faceline.learning.card import Card, Nonconformity

if TYPE_CHECKING:  # it imports TensorFlow
    from faceline.learning.answering import Answers

THUMBNAIL = 112  # pixels a side of a face in the gallery
PERCENT = 0.0005  # half of the last digit that the detail of a flag shows

Pixels = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judge:
    """What verdicts depend on.

    Attributes:
        card: of the bundle.
        answer: its networks on crops, uint8 (n, size, size, 3).
        detector: what finds faces.
        rate: of false flags.
    """

    card: Card
    answer: "Callable[[Pixels], Answers]"
    detector: Detector
    rate: float

    def verdicts(self, profiles: Sequence[Profile], read: Callable[[str], bytes]) -> list[Verdict]:
        """The verdicts on some rows, in order. The same rows together give the same bits of every number.

        Args:
            profiles: rows of the table.
            read: gives the bytes of a picture by its path; PictureError where they cannot be had.
        """
        found: list[Verdict] = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # `decode` judges what Pillow warns of
            for chunk in chunks(self._pictures(profiles, read, found)):
                found += self._chunk(chunk)
        return sorted(found, key=lambda verdict: verdict.row)

    def _pictures(
        self, profiles: Sequence[Profile], read: Callable[[str], bytes], found: list[Verdict]
    ) -> Iterator[tuple[Profile, Pixels]]:
        """The rows that can be tested with their pictures; the verdicts on the others go to `found`."""
        for profile in profiles:
            if profile.fault is not None:
                found.append(Verdict(profile.row, "bad_statement", profile.fault))
                continue
            try:
                yield profile, decode(read(profile.picture), **self.card.decode.model_dump())
            except PictureError as error:
                found.append(Verdict(profile.row, "unreadable", f"{error.reason}: {error.detail}"))

    def _chunk(self, chunk: Sequence[tuple[Profile, Pixels]]) -> Iterator[Verdict]:
        tested: list[Profile] = []
        crops: list[Pixels] = []
        faces = detect_each(self.detector, [pixels for _, pixels in chunk])
        for (profile, pixels), found in zip(chunk, faces, strict=True):
            crop = _crop(pixels, found, self.card.crop)
            if isinstance(crop, tuple):
                yield Verdict(profile.row, *crop)
            else:
                tested.append(profile)
                crops.append(crop)
        if tested:
            yield from self._tested(tested, crops)

    def _tested(self, profiles: Sequence[Profile], crops: Sequence[Pixels]) -> Iterator[Verdict]:
        answers = self.answer(np.stack(crops))
        ages, genders = (_codes([getattr(profile, name) for profile in profiles]) for name in STATED)
        statements = Statements.of(ages, genders, answers, self.card.nonconformity or Nonconformity())
        for number, (profile, crop) in enumerate(zip(profiles, crops, strict=True)):
            raw = statements.p_values_of(number)
            adjusted = holm(raw)
            numbers: dict[str, Any] = {f"{name}_p_value": _rounded(value) for name, value in raw.items()}
            numbers |= {f"{name}_score": _rounded(float(statements.scores[name][number])) for name in raw}
            numbers |= _answered(answers, number)
            verdict = Verdict(
                profile.row,
                category(adjusted, self.rate),
                strength=round(strength(adjusted), 3),
                p_value=_rounded(min(adjusted.values())),
                **numbers,
            )
            yield _explained(verdict, profile, crop) if verdict.flagged else verdict


@dataclass(frozen=True)
class Statements:
    """What is stated of n rows, age and gender (n,), -1 where nothing is, with scores and p-values (n,) of each."""

    stated: dict[str, Codes]
    scores: dict[str, Floats]
    p_values: dict[str, Floats]

    @classmethod
    def of(cls, ages: Codes, genders: Codes, answers: "Answers", found: Nonconformity) -> Self:
        """Ages, years (n,), and genders, codes (n,), tested by the calibration of a card."""
        scores, values = {}, {}
        if found.age is not None and answers.age is not None:
            scores["age"] = conformal.age_scores(answers, ages)
            values["age"] = conformal.p_values(found.age, scores["age"], ages)
        if found.gender is not None and answers.female_probability is not None:
            scores["gender"] = score = conformal.gender_scores(answers, genders)
            values["gender"] = conformal.p_values(found.gender, score, conformal.gender_ages(answers))
            # Where nearly all answers are sure, one of 90 % is rare: yet it agrees with what is stated.
            female = np.asarray(answers.female_probability) >= THRESHOLD
            values["gender"][female == (genders == Gender.FEMALE)] = 1.0
        return cls({"age": ages, "gender": genders}, scores, values)

    def p_values_of(self, number: int) -> dict[str, float]:
        """The p-values of what a row states."""
        return {name: float(values[number]) for name, values in self.p_values.items() if self.stated[name][number] >= 0}


def _crop(pixels: Pixels, faces: list[Face] | str, settings: CropSettings) -> Pixels | tuple[str, str]:
    """What the networks see of a picture, or category and detail where they are not asked."""
    if isinstance(faces, str):
        return "unreadable", f"detector_failed: {faces}"
    face = only_face(faces, settings)
    if isinstance(face, tuple):
        return face
    crop = crop_face(pixels, face, settings)
    wrong = fault(measure(crop, min(face.width, face.height)), settings.quality)
    return ("poor_picture", ": ".join(wrong)) if wrong else crop


def _codes(stated: Sequence[int | None]) -> Codes:
    return np.array([-1 if value is None else value for value in stated])


def _answered(answers: "Answers", number: int) -> dict[str, float | str]:
    """What the networks answer for one crop, rounded as it is told."""
    found: dict[str, float | str] = {}
    if answers.age is not None and answers.age_low is not None and answers.age_high is not None:
        named = {"age_predicted": answers.age, "age_low": answers.age_low, "age_high": answers.age_high}
        found |= {name: round(float(values[number]), 1) for name, values in named.items()}
    if answers.female_probability is not None:
        female = float(answers.female_probability[number])
        code = int(female >= THRESHOLD)
        found["gender_predicted"] = GENDERS[code]
        found["gender_probability"] = round(max(female, 1 - female), 4)
    return found


def _explained(verdict: Verdict, profile: Profile, crop: Pixels) -> Verdict:
    """A flagged verdict with its reason in words and its face."""
    said = []
    if verdict.category != "contradicts_gender":
        span = f"{verdict.age_low:.0f} to {verdict.age_high:.0f}"
        said.append(f"age {profile.age} stated, looks {verdict.age_predicted:.0f} ({span})")
    if verdict.category != "contradicts_age" and profile.gender is not None:
        # A certainty is never claimed: 99.97 % is not told as 100 %.
        sure = min(verdict.gender_probability or 0.0, 1 - PERCENT)
        said.append(f"{GENDERS[profile.gender]} stated, looks {verdict.gender_predicted} ({sure:.1%})")
    return dataclasses.replace(verdict, detail="; ".join(said), crop=_jpeg(crop))


def _jpeg(crop: Pixels) -> str:
    picture = Image.fromarray(crop)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=80)
    return base64.b64encode(encoded.getvalue()).decode()


def _rounded(value: float) -> float:
    """Four digits, whatever the size."""
    return float(f"{value:.4g}")
