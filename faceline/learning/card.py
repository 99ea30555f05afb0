"""The card of a bundle: everything that whoever uses it must know, as `card.json` beside the networks."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from faceline.errors import BundleError, SettingsError
from faceline.faces.cropping import CropSettings
from faceline.faces.detection import DetectSettings
from faceline.files import digest, read_json
from faceline.learning.recipe import Recipe, Scaling
from faceline.params import PARAMS, Settings

CARD = "card.json"
FORMAT = 3  # raised when an older reader would misunderstand a card

FORMULAS: Mapping[Scaling, str] = {  # of each scaling of a pixel's value, 0 to 255; `faceline.learning.pixels` does it
    "symmetric": "value / 127.5 - 1",
    "whitened": "(value - mean) / max(deviation, 1 / sqrt(values)), over all values of the picture",
}


class DecodeSettings(Settings):
    """Which pictures are decoded at all, as when the dataset was ingested."""

    max_pixels: Annotated[int, Field(ge=1)]
    min_side: Annotated[int, Field(ge=1)]


class Input(Settings):
    """What a network takes in: a crop resized (bilinear, smoothed), made grey if channels is 1, scaled."""

    size: int  # pixels a side
    channels: Literal[1, 3]
    scaling: Scaling
    formula: str  # of that scaling, of a pixel's value, 0 to 255

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """What the networks of a recipe take in that have no settings of their own."""
        return cls(
            size=recipe.input_size,
            channels=1 if recipe.grey else 3,
            scaling=recipe.scaling,
            formula=FORMULAS[recipe.scaling],
        )


class NetworkFile(Settings):
    """A network in the bundle, the checksum of its file, what it takes in, and the targets it answers."""

    file: str
    sha256: str
    input: Input
    targets: tuple[str, ...]
    parameters: int


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
    standard deviation tells how unsure it is, they are half_width * (deviation + 1) / (typical_deviation + 1).
    """

    coverage: float
    half_width: float  # years
    typical_deviation: float | None = None  # years; the mean on validation


class ScoreBand(Settings):
    """Nonconformity scores of true labels in the validation subset, of one band of ages, kept as quantiles.

    `ranks[i]` of its rows have the score `scores[i]` or a higher one. The band ends where the next one begins, the last
    one never. `faceline.learning.conformal` makes p-values of them.
    """

    youngest: int  # years; the age at which the band begins
    rows: Annotated[int, Field(ge=1)]
    scores: tuple[float, ...]  # falling: of age in half-widths of its interval, of gender 1 - its probability
    ranks: tuple[int, ...]  # rising

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        falls = all(one > other for one, other in pairwise(self.scores))
        rises = all(one < other for one, other in pairwise((0, *self.ranks, self.rows + 1)))
        if not falls or not rises or len(self.scores) != len(self.ranks):
            raise ValueError("scores must fall, and ranks rise to at most rows, one for each score")
        return self


Bands = Annotated[tuple[ScoreBand, ...], Field(min_length=1)]


class Nonconformity(Settings):
    """How badly true labels of the validation subset fit the answers: what statements are compared with.

    Split conformal p-values (Angelopoulos and Bates 2021, https://arxiv.org/abs/2107.07511), and so flags at any rate,
    follow from it. Bands are of the stated age for age, of the answered age for gender. None: no such target, or none
    of its labels.
    """

    age: Bands | None = None
    gender: Bands | None = None


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
    decode: DecodeSettings
    detect: DetectSettings
    crop: CropSettings
    shards: Shards
    constants: Constants
    validation: dict[str, Any]  # rows, and by target its metric
    flip_averaging: bool  # outputs for a crop and its mirror image are averaged, before all else
    # By target: p becomes p^(1/T), renormalised; of ages before their expectation is taken. None: 1.
    temperatures: dict[str, float] = Field(default_factory=dict)
    age_interval: AgeInterval | None
    nonconformity: Nonconformity | None = None  # of validation; None in a card of before it was measured


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
    except SettingsError as error:  # of a network's own settings or arguments, which it takes for those of params.yaml
        raise BundleError(f"{bundle / CARD}: {error.message.removeprefix(f'{PARAMS}: ')}") from None


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
