"""What a recipe is: networks, losses, augmentation, optimizer and schedule, as read from `recipes` in params.yaml.

Pure settings: nothing here imports TensorFlow, so a recipe can be checked in milliseconds.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from faceline.datasets import labels
from faceline.learning import networks
from faceline.learning.forest import Forest
from faceline.learning.oversampling import Smote
from faceline.learning.targets import AgeAnswers, Head, NotNegative, Positive, Share, Targets
from faceline.params import Settings, parse_settings

Scaling = Literal["symmetric", "whitened"]  # of pixels; `faceline.learning.pixels` has the formulas
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16", "auto"]  # what is computed in; weights are float32


Learner = Annotated[Forest | Smote, Field(discriminator="learner")]


class Refit(Settings):
    """What learns a head anew on the network's features, after its training; a head that is absent stays as trained."""

    age: Forest | None = None
    gender: Learner | None = None
    race: Learner | None = None

    @property
    def learners(self) -> dict[str, Forest | Smote]:
        """The learners present, by target."""
        found = {name: getattr(self, name) for name in labels.TARGETS}
        return {name: learner for name, learner in found.items() if learner is not None}


# Settings of a recipe that a network may have of its own.
OWN = ("input_size", "scaling", "augmentation", "heads_first", "optimizer", "schedule", "epochs", "serving")


class NetworkSettings(Settings):
    """One network: its architecture, the arguments of it, its heads, and what learns these anew in the end."""

    network: str
    targets: Targets
    refit: Refit = Refit()
    arguments: dict[str, Any] = Field(default_factory=dict)  # what the architecture's own settings allow
    own: dict[str, Any] = Field(default_factory=dict)  # what stands in the place of the recipe's settings: see OWN

    @property
    def name(self) -> str:
        """What the network is called in files and tables, as compact-age-gender."""
        return "-".join((self.network, *self.targets.names))

    @property
    def age_answers(self) -> AgeAnswers | None:
        """What the output for age is, None where there is none; a forest answers with a number."""
        if self.targets.age is None:
            return None
        return "number" if self.refit.age else self.targets.age.answers

    @property
    def parsed_arguments(self) -> Settings:
        """The arguments as the architecture's own settings class."""
        model = networks.load(self.network).Arguments
        return parse_settings(model, self.arguments, f"networks.{self.network}.arguments")

    @field_validator("network")
    @classmethod
    def _exists(cls, network: str) -> str:
        if network not in networks.names():
            raise ValueError(f"no such network; allowed: {', '.join(networks.names())}")
        return network

    @field_validator("own")
    @classmethod
    def _of_one_alone(cls, own: dict[str, Any]) -> dict[str, Any]:
        if other := set(own) - set(OWN):
            raise ValueError(f"{', '.join(sorted(other))} cannot be a network's own; allowed: {', '.join(OWN)}")
        return own

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _ = self.parsed_arguments  # raises SettingsError, which names the argument
        can = networks.load(self.network).TARGETS
        if not set(self.targets.names) <= set(can):
            raise ValueError(f"the targets of {self.network} can be {', '.join(can)}")
        if not set(self.refit.learners) <= set(self.targets.names):
            raise ValueError(f"refit can be of the network's own targets, {', '.join(self.targets.names)}")
        given = {other for name in self.targets.names for other in getattr(self.targets, name).given}
        if both := given & set(self.refit.learners):
            raise ValueError(f"{', '.join(sorted(both))} is given to another head, so it cannot be refitted")
        for target in set(self.refit.learners) & set(self.targets.adjusted):
            raise ValueError(f"{target}.logit_adjustment belongs to the network's own head, which refit replaces")
        return self


class Jpeg(Settings):
    """Some training pictures are compressed again before anything else, as pictures from the web have been."""

    share: Share  # of the pictures
    lowest: Annotated[int, Field(ge=1, le=100)] = 30  # quality is drawn from lowest … highest
    highest: Annotated[int, Field(ge=1, le=100)] = 95

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.lowest > self.highest:
            raise ValueError(f"lowest {self.lowest} is above highest {self.highest}")
        return self


class Augmentation(Settings):
    """How training pictures are varied; the defaults leave them as they are. Each range is drawn from uniformly."""

    flip: bool = False  # mirror every other picture
    smallest_crop: Annotated[float, Field(gt=0, le=1)] = 1.0  # side of a random crop, as a share of the picture's
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0  # magnify by 1 - zoom … 1 + zoom
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0  # degrees either way
    shear: Annotated[float, Field(ge=0, le=45)] = 0.0  # degrees either way
    translation: Share = 0.0  # shift down or up and across, as a share of the side, either way
    brightness: Share = 0.0  # added, as a share of white, either way
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0  # factor 1 - contrast … 1 + contrast about the picture's mean
    saturation: Annotated[float, Field(ge=0, lt=1)] = 0.0  # factor 1 - saturation … 1 + saturation
    erase: Annotated[float, Field(ge=0, lt=1)] = 0.0  # side of a square set to mid grey, as a share of the picture's
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # turned by this share of the circle, either way
    grey: Share = 0.0  # share of the pictures made grey
    jpeg: Jpeg | None = None
    mixup: NotNegative = 0.0  # alpha of the Beta distribution that the share of the other picture comes from; 0: none


class OptimizerSettings(Settings):
    """The optimizer."""

    name: Literal["adam", "adamw", "rmsprop", "sgd"]
    learning_rate: Positive
    weight_decay: NotNegative = 0.0  # adamw alone
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0  # sgd alone
    nesterov: bool = False  # sgd alone: the momentum looks ahead
    clip_norm: Positive | None = None  # longest that the gradient of all weights together may be; longer is shortened
    ema_momentum: Annotated[float, Field(gt=0, lt=1)] | None = None  # judge and keep the moving average of the weights

    @model_validator(mode="after")
    def _fits_the_name(self) -> Self:
        if self.weight_decay and self.name != "adamw":
            raise ValueError("weight_decay belongs to adamw")
        if (self.momentum or self.nesterov) and self.name != "sgd":
            raise ValueError("momentum and nesterov belong to sgd")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
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


class HeadsFirst(Settings):
    """What lies behind a pretrained network's pooled features learns before the rest (`faceline.learning.heads_first`).

    AdamW, whose learning rate falls to zero along a cosine, on batches of the recipe's size.
    """

    epochs: Annotated[int, Field(ge=1)]
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.02


class Distill(Settings):
    """A teacher whose answers the networks learn from as well as from the labels (`faceline.learning.distillation`)."""

    teacher: Path  # in models/teachers: a table of answers as `faceline teach` writes it, or a bundle's folder
    weight: Share  # of the teacher's answers; the labels have the rest
    temperature: Annotated[float, Field(ge=1, le=20)] = 1.0  # above 1 both distributions are softened


class Sampling(Settings):
    """Which rows an epoch draws more often: the rarer its age or race, the more (`faceline.learning.weighting`)."""

    by: Literal["none", "age", "race"] = "none"
    power: Share = 0.5  # 0: as they are; 1: every bin or race as often as the others
    years: Annotated[int, Field(ge=1)] = 10  # of an age bin


class Serving(Settings):
    """How the bundle answers and is stored; what the networks learn does not depend on it."""

    flip_averaging: bool = False  # the answer is the mean of those for a crop and its mirror image; half as fast
    coverage: Annotated[float, Field(gt=0, lt=1)] = 0.9  # share of ages that their intervals are to hold
    half_precision: bool = False  # weights are rounded to float16: half the bytes (`faceline.learning.rounding`)
    # Then those of kernels are also rounded to multiples of so many of their layer's root mean squares, and packed.
    rounding: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _packed_as_halves(self) -> "Serving":
        if self.rounding and not self.half_precision:
            raise ValueError("rounding belongs to half_precision: true")
        return self


class Member(NamedTuple):
    """A network that is trained: its name in the bundle, in the store and in history.csv, and its number among those
    that differ by their seeds alone, from 1."""

    name: str
    settings: NetworkSettings
    number: int


class Recipe(Settings):
    """All that training depends on besides the shards and the code."""

    networks: Annotated[tuple[NetworkSettings, ...], Field(min_length=1)]  # several for a target answer together
    # Of an ensemble: all networks are trained so many times, from other seeds, and their answers averaged.
    # Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474
    members: Annotated[int, Field(ge=1, le=10)] = 1
    input_size: Annotated[int, Field(ge=16, le=1024)]  # pixels a side; crops are resized to it
    grey: bool = False  # one channel instead of three
    scaling: Scaling = "symmetric"  # of pixels: -1 to 1, or whitened picture by picture, as FaceNet takes them
    augmentation: Augmentation = Augmentation()
    start: Annotated[str, Field(min_length=1)] | None = None  # a bundle's folder, from whose weights to go on
    heads_first: HeadsFirst | None = None
    optimizer: OptimizerSettings
    schedule: Annotated[Constant | Plateau | Cosine, Field(discriminator="name")]
    batch_size: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]
    early_stopping: EarlyStopping
    sampling: Sampling = Sampling()
    distill: Distill | None = None
    serving: Serving = Serving()
    shuffle_buffer: Annotated[int, Field(ge=1)] = 2000  # encoded pictures held for mixing
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # of the first of `members`; each further one's is one higher
    deterministic: bool = False  # the same shards and recipe give the same weights; slower
    precision: Precision = "float32"  # auto: bfloat16 where the hardware has it, float16 on GPUs before that

    @property
    def targets(self) -> tuple[str, ...]:
        """All targets, in the order of labels.TARGETS."""
        learned = {name for network in self.networks for name in network.targets.names}
        return tuple(name for name in labels.TARGETS if name in learned)

    @property
    def begins_trained(self) -> bool:
        """Whether a network may know the targets before its first epoch."""
        return self.start is not None or any(self.of(entry).heads_first for entry in self.networks)

    @property
    def all_members(self) -> tuple[Member, ...]:
        """The networks in the order of their training; of those with one name all but the first are numbered."""
        found: list[Member] = []
        seen: Counter[str] = Counter()
        for number in range(1, self.members + 1):
            for entry in self.networks:
                seen[entry.name] += 1
                count = seen[entry.name]
                found.append(Member(entry.name if count == 1 else f"{entry.name}-{count}", entry, number))
        return tuple(found)

    def of(self, entry: NetworkSettings) -> "Recipe":
        """The recipe of one of its networks alone, with the settings that are its own.

        Raises:
            SettingsError: one of these is not allowed.
        """
        alone = self.model_copy(update={"networks": (entry.model_copy(update={"own": {}}),), "members": 1})
        if not entry.own:
            return alone
        return parse_settings(Recipe, {**alone.model_dump(), **entry.own}, f"networks.{entry.network}.own")

    def head(self, target: str) -> Head:
        """The head of one of `targets`, of the first network that has it."""
        found: Iterator[Head | None] = (getattr(network.targets, target) for network in self.networks)
        return next(head for head in found if head is not None)

    @property
    def age_answers(self) -> AgeAnswers:
        """What the output for age is, which is one of `targets`."""
        return next(kind for entry in self.networks if (kind := entry.age_answers))

    @property
    def channels(self) -> int:
        """Channels of the networks' input."""
        return 1 if self.grey else 3

    @field_validator("networks")
    @classmethod
    def _answer_together(cls, entries: tuple[NetworkSettings, ...]) -> tuple[NetworkSettings, ...]:
        if any(entry in entries[:number] for number, entry in enumerate(entries)):
            raise ValueError("two networks are the same; `members` trains them more than once, from other seeds")
        kinds = {kind for entry in entries if (kind := entry.age_answers)}
        if len(kinds) > 1:
            told = " and ".join(sorted(kinds))
            raise ValueError(
                f"the networks of age answer together, so the kind of their answers must be one, not {told}"
            )
        return entries

    @model_validator(mode="after")
    def _every_member_has_a_seed(self) -> Self:
        if self.seed + self.members > 2**32:
            raise ValueError(f"seed {self.seed} is too high for {self.members} members; their last must be below 2^32")
        return self

    @model_validator(mode="after")
    def _own_settings_are_allowed(self) -> Self:
        for entry in self.networks:
            if not entry.own:
                continue
            serving = self.of(entry).serving
            if (serving.flip_averaging, serving.coverage) != (self.serving.flip_averaging, self.serving.coverage):
                raise ValueError("networks answer together: flip_averaging and coverage cannot be the own of one")
        return self


def recipe_digest(recipe: Recipe) -> str:
    """SHA-256 over a recipe's settings, defaults included."""
    return hashlib.sha256(recipe.model_dump_json().encode()).hexdigest()
