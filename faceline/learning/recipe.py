"""What a recipe is: networks, losses, augmentation, optimizer and schedule, as read from `recipes` in params.yaml.

Pure settings: nothing here imports TensorFlow, so a recipe can be checked in milliseconds.
"""

import hashlib
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from faceline.datasets import labels
from faceline.learning import networks
from faceline.params import Settings, parse_settings

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Scaling = Literal["symmetric", "whitened"]  # of pixels; `faceline.learning.pixels` has the formulas


class Age(Settings):
    """Loss of the age head; it answers with the expectation over one-year bins or, for `mae` and `mse`, a number."""

    loss: Literal["dldl", "crossentropy", "mae", "mse"]
    weight: NotNegative = 1.0  # in the sum of the losses
    sigma: Positive = 2.5  # dldl: years; width of the distribution that stands for a label


class Gender(Settings):
    """Loss of the gender head: binary cross-entropy."""

    loss: Literal["crossentropy"]
    weight: NotNegative = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Race(Settings):
    """Loss of the race head: categorical cross-entropy over the rows whose race is known."""

    loss: Literal["crossentropy"]
    weight: NotNegative = 1.0


class Targets(Settings):
    """The heads of a network; one that is absent is not learned."""

    age: Age | None = None
    gender: Gender | None = None
    race: Race | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The targets present, in the order of labels.TARGETS."""
        return tuple(name for name in labels.TARGETS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if not self.names:
            raise ValueError(f"at least one of {', '.join(labels.TARGETS)}")
        return self


class NetworkSettings(Settings):
    """One network: its architecture, the arguments of it, and its heads."""

    network: str
    targets: Targets
    arguments: dict[str, Any] = Field(default_factory=dict)  # what the architecture's own settings allow

    @property
    def name(self) -> str:
        """What the network is called in files and tables, as compact-age-gender."""
        return "-".join((self.network, *self.targets.names))

    @property
    def parsed_arguments(self) -> Settings:
        """The arguments as the architecture's own settings class."""
        model = networks.load(self.network).Arguments
        return parse_settings(model, self.arguments, f"{self.network}.arguments")

    @field_validator("network")
    @classmethod
    def _exists(cls, network: str) -> str:
        if network not in networks.names():
            raise ValueError(f"no such network; allowed: {', '.join(networks.names())}")
        return network

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _ = self.parsed_arguments  # raises SettingsError, which names the argument
        can = networks.load(self.network).TARGETS
        if not set(self.targets.names) <= set(can):
            raise ValueError(f"the targets of {self.network} can be {', '.join(can)}")
        return self


class Augmentation(Settings):
    """How training pictures are varied; the defaults leave them as they are. Each range is drawn from uniformly."""

    flip: bool = False  # mirror every other picture
    smallest_crop: Annotated[float, Field(gt=0, le=1)] = 1.0  # side of a random crop, as a share of the picture's
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0  # magnify by 1 - zoom … 1 + zoom
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0  # degrees either way
    shear: Annotated[float, Field(ge=0, le=45)] = 0.0  # degrees either way
    brightness: Share = 0.0  # added, as a share of white, either way
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0  # factor 1 - contrast … 1 + contrast about the picture's mean
    saturation: Annotated[float, Field(ge=0, lt=1)] = 0.0  # factor 1 - saturation … 1 + saturation
    erase: Annotated[float, Field(ge=0, lt=1)] = 0.0  # side of a square set to mid grey, as a share of the picture's


class OptimizerSettings(Settings):
    """The optimizer."""

    name: Literal["adam", "adamw", "rmsprop"]
    learning_rate: Positive
    weight_decay: NotNegative = 0.0  # adamw alone
    ema_momentum: Annotated[float, Field(gt=0, lt=1)] | None = None  # judge and keep the moving average of the weights

    @model_validator(mode="after")
    def _decay_needs_adamw(self) -> Self:
        if self.weight_decay and self.name != "adamw":
            raise ValueError("weight_decay belongs to adamw")
        return self


class Constant(Settings):
    """The learning rate stays as it is."""

    name: Literal["constant"]


class Plateau(Settings):
    """The learning rate is cut when the validation loss has not fallen for `patience` epochs."""

    name: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Annotated[int, Field(ge=1)] = 3
    minimum: NotNegative = 1e-6


class Cosine(Settings):
    """The learning rate rises for a share of the steps, then falls to zero along a cosine."""

    name: Literal["cosine"]
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05


class EarlyStopping(Settings):
    """Stop when the validation loss has not fallen for `patience` epochs; the best weights are kept in any case."""

    patience: Annotated[int, Field(ge=1)]


class Serving(Settings):
    """How the bundle answers; networks and losses do not depend on it."""

    flip_averaging: bool = False  # the answer is the mean of those for a crop and its mirror image; half as fast
    coverage: Annotated[float, Field(gt=0, lt=1)] = 0.9  # share of ages that their intervals are to hold


class Recipe(Settings):
    """All that training depends on besides the shards and the code."""

    networks: Annotated[tuple[NetworkSettings, ...], Field(min_length=1)]
    input_size: Annotated[int, Field(ge=16, le=1024)]  # pixels a side; crops are resized to it
    grey: bool = False  # one channel instead of three
    scaling: Scaling = "symmetric"  # of pixels: -1 to 1, or whitened picture by picture, as FaceNet takes them
    augmentation: Augmentation = Augmentation()
    optimizer: OptimizerSettings
    schedule: Annotated[Constant | Plateau | Cosine, Field(discriminator="name")]
    batch_size: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]
    early_stopping: EarlyStopping
    serving: Serving = Serving()
    shuffle_buffer: Annotated[int, Field(ge=1)] = 2000  # encoded pictures held for mixing
    seed: int
    deterministic: bool = False  # the same shards and recipe give the same weights; slower
    precision: Literal["float32", "mixed_bfloat16", "auto"] = "float32"  # auto: bfloat16 where the hardware has it

    @property
    def targets(self) -> tuple[str, ...]:
        """All targets, in the order of labels.TARGETS."""
        learned = {name for network in self.networks for name in network.targets.names}
        return tuple(name for name in labels.TARGETS if name in learned)

    @property
    def channels(self) -> int:
        """Channels of the networks' input."""
        return 1 if self.grey else 3

    @field_validator("networks")
    @classmethod
    def _each_target_once(cls, entries: tuple[NetworkSettings, ...]) -> tuple[NetworkSettings, ...]:
        learned = [name for entry in entries for name in entry.targets.names]
        twice = sorted({name for name in learned if learned.count(name) > 1})
        if twice:
            raise ValueError(f"each target has one network; {', '.join(twice)} has several")
        return entries


def recipe_digest(recipe: Recipe) -> str:
    """SHA-256 over a recipe's settings, defaults included."""
    return hashlib.sha256(recipe.model_dump_json().encode()).hexdigest()
