"""The card of a bundle: everything that whoever uses it must know, as `card.json` beside the networks."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from faceline.errors import BundleError
from faceline.faces.cropping import CropSettings
from faceline.faces.detection import DetectSettings
from faceline.files import digest, read_json
from faceline.learning.recipe import Recipe, Scaling
from faceline.params import Settings

CARD = "card.json"
FORMAT = 2  # raised when an older reader would misunderstand a card


class DecodeSettings(Settings):
    """Which pictures are decoded at all, as when the dataset was ingested."""

    max_pixels: Annotated[int, Field(ge=1)]
    min_side: Annotated[int, Field(ge=1)]


class NetworkFile(Settings):
    """A network in the bundle, the checksum of its file, and the targets it answers."""

    file: str
    sha256: str
    targets: tuple[str, ...]
    parameters: int


class Input(Settings):
    """What the networks take in: a crop resized (bilinear, smoothed), made grey if channels is 1, scaled."""

    size: int  # pixels a side
    channels: Literal[1, 3]
    scaling: Scaling
    formula: str  # of that scaling, of a pixel's value, 0 to 255


class Shards(Settings):
    """What the networks were trained on."""

    digest: str  # SHA-256 of manifest.json
    rows: dict[str, int]  # a subset
    crop_size: int  # pixels a side


class Constants(Settings):
    """What the constant predictor answers: from the labels of train; None where it has none."""

    age_mean: float | None
    age_median: float | None
    gender: int | None  # the more frequent code
    race: int | None


class AgeInterval(Settings):
    """Age plus or minus so many years holds the true age with probability `coverage` (split conformal prediction).

    Half-widths are `half_width` where the head answers with a number. Where it answers with a distribution, whose
    standard deviation tells how unsure it is, they are half_width * (deviation / typical_deviation + 1) / 2.
    """

    coverage: float
    half_width: float  # years
    typical_deviation: float | None = None  # years; the mean on validation


class NamedRecipe(Settings):
    """The recipe's name, digest and settings."""

    name: str
    digest: str
    settings: Recipe


class Card(Settings):
    """A bundle's card."""

    format: int
    dataset: str
    licence: str  # of the data
    recipe: NamedRecipe
    targets: tuple[str, ...]  # in the order of labels.TARGETS
    labels: dict[str, tuple[str, ...]]  # names of the codes of gender and race, in order
    networks: tuple[NetworkFile, ...]
    input: Input
    decode: DecodeSettings
    detect: DetectSettings
    crop: CropSettings
    shards: Shards
    constants: Constants
    validation: dict[str, Any]  # rows, and by target its metric
    flip_averaging: bool  # outputs for a crop and its mirror image are averaged, before all else
    temperatures: dict[str, float] = Field(default_factory=dict)  # of gender and race: p becomes p^(1/T), renormalised
    age_interval: AgeInterval | None


def read_card(bundle: Path) -> Card:
    """The card of a bundle.

    Raises:
        BundleError: there is none, or it is not one of this version.
    """
    if not (bundle / CARD).exists():
        raise BundleError(f"{bundle / CARD} is missing; `dvc repro train` makes a bundle")
    try:
        values = read_json(bundle / CARD)
    except ValueError as error:
        raise BundleError(f"{bundle / CARD} is not valid JSON: {error}") from None
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise BundleError(f"{bundle / CARD} has format {found!r}; this version reads format {FORMAT}")
    try:
        return Card.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise BundleError(f"{bundle / CARD}: {key}: {first['msg']}") from None


def file_digests(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of the bundle that a recipe starts from, by its path; of none where it starts anew.

    Raises:
        BundleError: there is no bundle, or it is of another version.
    """
    if recipe.start is None:
        return {}
    bundle = Path(recipe.start)
    read_card(bundle)
    return {recipe.start: digest(bundle)}
