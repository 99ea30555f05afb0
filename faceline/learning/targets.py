"""The heads of a network as a recipe names them: what each is called on to learn, its loss and how rows count in it.

Pure settings, like `faceline.learning.recipe`: nothing here imports TensorFlow.
"""

from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from faceline.datasets import labels
from faceline.params import Settings

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Smoothing = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Cap = Annotated[float, Field(ge=1)]
Target = Literal["age", "gender", "race"]
RaceName = Literal["white", "black", "asian", "indian", "other"]
# What an output for age is: years (n, 1); a distribution over one-year bins (n, 117); or the probabilities of being
# older than 0, 1, … 115 years (n, 116).
AgeAnswers = Literal["number", "distribution", "ordinal"]


class LabelDistributionSmoothing(Settings):
    """Rows weighted by the inverse of how frequent ages like theirs are (`faceline.learning.weighting`)."""

    sigma: Positive = 2.0  # years; of the normal kernel that smooths the counts of ages
    power: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the inverse; 0.5 is its square root
    cap: Cap = 10.0  # times the mean weight, the largest


class _OfAHead(Settings):
    """What every head has."""

    weight: NotNegative = 1.0  # in the sum of the losses
    given: tuple[Target, ...] = ()  # heads of the same network whose answers this one takes beside its features


class Age(_OfAHead):
    """Loss of the age head, which says what its output stands for: see `answers`."""

    loss: Literal["dldl", "crossentropy", "mean_variance", "ordinal", "mae", "mse", "huber"]
    sigma: Positive = 2.5  # dldl: years; width of the distribution that stands for a label
    mean_weight: NotNegative = 0.2  # mean_variance: of half the squared error of the mean (Pan et al. 2018, section 4)
    variance_weight: NotNegative = 0.05  # mean_variance: of the variance (as above)
    delta: Positive = 5.0  # huber: years; a larger error counts linearly
    activation: Literal["linear", "relu"] = "linear"  # of a number; relu gives no age below 0
    label_distribution_smoothing: LabelDistributionSmoothing | None = None
    logit_adjustment: Share = 0.0  # how far rare ages are favoured once it is trained (`faceline.learning.adjustment`)

    @property
    def answers(self) -> AgeAnswers:
        """What the output of the head is."""
        if self.loss == "ordinal":
            return "ordinal"
        return "number" if self.loss in ("mae", "mse", "huber") else "distribution"

    @model_validator(mode="after")
    def _numbers_alone_have_an_activation(self) -> Self:
        if self.activation != "linear" and self.answers != "number":
            raise ValueError(f"activation {self.activation} belongs to mae, mse and huber, not to {self.loss}")
        return self

    @model_validator(mode="after")
    def _distributions_alone_are_adjusted(self) -> Self:
        if self.logit_adjustment and self.answers != "distribution":
            raise ValueError(f"logit_adjustment belongs to dldl, crossentropy and mean_variance, not to {self.loss}")
        return self


class Gender(_OfAHead):
    """Loss of the gender head: binary cross-entropy."""

    loss: Literal["crossentropy"]
    label_smoothing: Smoothing = 0.0


class Race(_OfAHead):
    """Loss of the race head: categorical cross-entropy over the rows whose race is known."""

    loss: Literal["crossentropy"]
    label_smoothing: Smoothing = 0.0
    class_weights: Literal["none", "balanced"] | dict[RaceName, NotNegative] = "none"  # balanced: inverse frequency
    cap: Cap = 10.0  # balanced: times the mean weight, the largest
    logit_adjustment: Share = 0.0  # how far rare races are favoured once it is trained (`faceline.learning.adjustment`)


Head = Age | Gender | Race


class Targets(Settings):
    """The heads of a network; one that is absent is not learned."""

    age: Age | None = None
    gender: Gender | None = None
    race: Race | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The targets present, in the order of labels.TARGETS."""
        return tuple(name for name in labels.TARGETS if getattr(self, name) is not None)

    @property
    def adjusted(self) -> tuple[str, ...]:
        """The targets whose rare labels are favoured once they are trained."""
        heads = {"age": self.age, "race": self.race}
        return tuple(name for name, head in heads.items() if head is not None and head.logit_adjustment)

    @property
    def order(self) -> tuple[str, ...]:
        """The targets present, each behind those whose answers its head is given."""
        return tuple(TopologicalSorter({name: getattr(self, name).given for name in self.names}).static_order())

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if not self.names:
            raise ValueError(f"at least one of {', '.join(labels.TARGETS)}")
        return self

    @model_validator(mode="after")
    def _given_what_there_is(self) -> Self:
        for name in self.names:
            absent = set(getattr(self, name).given) - set(self.names)
            if absent:
                raise ValueError(f"{name} is given {', '.join(sorted(absent))}, for which the network has no head")
            for other in set(getattr(self, name).given) & set(self.adjusted):
                raise ValueError(f"{name} is given {other} as it was trained, so {other} can have no logit_adjustment")
        try:
            _ = self.order
        except CycleError as error:
            raise ValueError(f"no head comes first: {' is given to '.join(error.args[1])}") from None
        return self
