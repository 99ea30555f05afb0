"""The heads of a network: their outputs and metrics, and the numbers that an output stands for.

What an age head's output stands for is said by the head's settings (`Age.answers`), which the card of a bundle holds;
gender is the probability of female; race is a distribution over the codes. Labels come as (batch, 1), a teacher's
answers behind them where there is one; a row whose label is missing has weight 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from faceline.datasets.labels import AGE_BINS, OLDEST, RACES
from faceline.learning.losses import expectation
from faceline.learning.targets import Age, AgeAnswers, Gender, Head, Targets
from faceline.probabilities import tempered

FIRST_AGE = 30.0  # years; about the mean of UTKFace and IMDB-WIKI
METRICS = {"age": "mae", "gender": "accuracy", "race": "accuracy"}


class Ordinal(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The probabilities (batch, 116) of being older than 0, 1, … 115 years: one weight vector, a bias for each age.

    CORAL, Cao et al. 2020, https://arxiv.org/abs/1901.07884, section 3.3: where the loss is lowest the biases fall with
    the age, so they start in that order.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights for features (batch, n)."""
        steps = AGE_BINS - 1
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], 1), initializer="glorot_uniform")
        self.biases = self.add_weight(name="biases", shape=(steps,), initializer="zeros")
        self.biases.assign(np.linspace(2, -2, steps))

    def call(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """The probabilities for features (batch, n)."""
        return ops.sigmoid(ops.matmul(features, self.kernel) + self.biases)


def outputs(features: Mapping[str, keras.KerasTensor], targets: Targets) -> dict[str, keras.KerasTensor]:
    """The heads on the features (batch, n) of each target, always float32: (batch, 1), (batch, 116 or 117), (batch, 5).

    A head that is given another's answer takes it beside its features, in training as in serving: what the network
    says, never the label. No gradient goes back that way.
    """
    built: dict[str, keras.KerasTensor] = {}
    for name in targets.order:
        head, x = getattr(targets, name), features[name]
        if head.given:
            answers = (_as_feature(built[other], getattr(targets, other)) for other in head.given)
            x = keras.layers.Concatenate()([x, *answers])
        built[name] = _layer(name, head)(x)
    return {name: built[name] for name in targets.names}


def metric(head: Head) -> Any:
    """What an epoch is judged by: absolute error in years (`mae`), or the share of right answers (`accuracy`)."""
    if isinstance(head, Age):
        return keras.metrics.MeanMetricWrapper(_years_off, name=METRICS["age"], head=head)
    target = "gender" if isinstance(head, Gender) else "race"
    return keras.metrics.MeanMetricWrapper(_right, name=METRICS[target], target=target)


def scores(judged: Mapping[str, float], targets: Sequence[str]) -> dict[str, float]:
    """The metric of each target in what Keras evaluated, as age_mae, gender_accuracy, race_accuracy."""
    names = {target: f"{target}_{METRICS[target]}" for target in targets}
    # Keras doesn't put the name of an only output before its metric's.
    return {name: judged[name if len(targets) > 1 else METRICS[target]] for target, name in names.items()}


def years(outputs: np.ndarray, answers: AgeAnswers, temperature: float = 1.0) -> np.ndarray:
    """Ages in years (n,) from outputs (n, k) of that kind.

    Args:
        outputs: of an age head.
        answers: what they are.
        temperature: the distribution becomes p^(1/T) before its expectation is taken; numbers have none.
    """
    shares = distribution(outputs, answers) if temperature != 1 else None
    if shares is not None:
        ages: np.ndarray = tempered(shares, temperature) @ np.arange(AGE_BINS)
    elif answers == "number":
        ages = outputs[:, 0]
    elif answers == "ordinal":
        ages = outputs.sum(axis=1)
    else:
        ages = outputs @ np.arange(AGE_BINS, dtype=np.float32)
    return ages.clip(min=0)


def distribution(outputs: np.ndarray, answers: AgeAnswers) -> np.ndarray | None:
    """Probabilities of the one-year bins (n, 117) from outputs (n, k) of that kind; None if they are numbers."""
    if answers == "number":
        return None
    if answers == "distribution":
        return outputs
    edges = np.pad(outputs, ((0, 0), (1, 0)), constant_values=1)  # older than -1 for certain
    falls = -np.diff(edges, axis=1, append=0).clip(max=0)  # biases that rise somewhere would give a negative one
    return np.asarray(falls / falls.sum(axis=1, keepdims=True))


def deviations(outputs: np.ndarray, answers: AgeAnswers) -> np.ndarray | None:
    """Standard deviations in years (n,) of what outputs of that kind say of the age; None if they are numbers."""
    found = distribution(outputs, answers)
    if found is None:
        return None
    bins = np.arange(AGE_BINS, dtype=np.float64)
    means = found @ bins
    return np.sqrt(np.maximum(found @ bins**2 - means**2, 0))


def expected(outputs: keras.KerasTensor, head: Age) -> keras.KerasTensor:
    """The ages (batch, 1) that the outputs of an age head stand for, for losses and metrics."""
    if head.answers == "number":
        return outputs
    return ops.sum(outputs, axis=-1, keepdims=True) if head.answers == "ordinal" else expectation(outputs)


def _layer(name: str, head: Head) -> keras.layers.Layer:
    if isinstance(head, Age):
        if head.answers == "ordinal":
            return Ordinal(dtype="float32", name=name)
        units, activation = (1, head.activation) if head.answers == "number" else (AGE_BINS, "softmax")
    else:
        units, activation = (1, "sigmoid") if isinstance(head, Gender) else (len(RACES), "softmax")
    # A ReLU that starts below 0 for every picture has no gradient and would answer 0 for ever.
    bias = keras.initializers.Constant(FIRST_AGE) if activation == "relu" else "zeros"
    return keras.layers.Dense(units, activation=activation, bias_initializer=bias, dtype="float32", name=name)


def _as_feature(output: keras.KerasTensor, head: Head) -> keras.KerasTensor:
    """An output as another head takes it: probabilities, or the age as a share of the oldest."""
    return ops.stop_gradient(expected(output, head) / OLDEST if isinstance(head, Age) else output)


def _years_off(labels: keras.KerasTensor, outputs: keras.KerasTensor, head: Age) -> keras.KerasTensor:
    """Absolute error (batch,) of the ages that the outputs stand for."""
    return ops.squeeze(ops.abs(ops.cast(labels[:, :1], "float32") - expected(outputs, head)), axis=-1)


def _right(labels: keras.KerasTensor, outputs: keras.KerasTensor, target: str) -> keras.KerasTensor:
    """1 for a right answer and 0 for a wrong one (batch,)."""
    if target == "gender":
        return keras.metrics.binary_accuracy(labels[:, :1], outputs)
    return keras.metrics.sparse_categorical_accuracy(labels[:, :1], outputs)
