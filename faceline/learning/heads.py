"""The heads of a network: their outputs, losses and metrics, and the numbers that an output stands for.

Age is a distribution over one-year bins whose expectation is the answer, or one number for the regression losses;
gender is the probability of female; race is a distribution over the codes. Labels come as (batch, 1); a row whose label
is missing has weight 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from faceline.datasets.labels import AGE_BINS, RACES
from faceline.learning.recipe import Age, Gender, Race

EPSILON = 1e-7  # keeps logarithms finite
DLDL_EXPECTATION = 0.1  # weight of the error of the expectation beside the divergence, which has no unit
METRICS = {"age": "mae", "gender": "accuracy", "race": "accuracy"}

Head = Age | Gender | Race


def output(features: keras.KerasTensor, target: str, head: Head) -> keras.KerasTensor:
    """The head of `target` on features (batch, n): (batch, 117), (batch, 1) or (batch, 5), always float32."""
    if isinstance(head, Age):
        units, activation = (1, "linear") if head.loss in ("mae", "mse") else (AGE_BINS, "softmax")
    else:
        units, activation = (1, "sigmoid") if isinstance(head, Gender) else (len(RACES), "softmax")
    return keras.layers.Dense(units, activation=activation, dtype="float32", name=target)(features)


def loss(head: Head) -> Any:
    """The loss of a head, a row's loss by labels (batch, 1) and outputs."""
    match head:
        case Age(loss="dldl"):
            return dldl(head.sigma)
        case Age(loss="crossentropy") | Race():
            return keras.losses.SparseCategoricalCrossentropy()
        case Gender():
            return keras.losses.BinaryCrossentropy(label_smoothing=head.label_smoothing)
        case Age(loss="mae"):
            return keras.losses.MeanAbsoluteError()
        case _:
            return keras.losses.MeanSquaredError()


def dldl(sigma: float) -> Any:
    """Deep label distribution learning with the expectation (DLDL-v2, Gao et al. 2018, https://www.ijcai.org/proceedings/2018/99).

    The label becomes a normal distribution over the bins; the loss is its divergence from the output, and a share of
    the absolute error of the expectation.
    """

    def divergence(labels: keras.KerasTensor, outputs: keras.KerasTensor) -> keras.KerasTensor:
        bins = ops.arange(AGE_BINS, dtype="float32")
        labels = ops.cast(labels, "float32")
        wanted = ops.softmax(-0.5 * ops.square((bins - labels) / sigma), axis=-1)
        kullback_leibler = ops.sum(wanted * (ops.log(wanted + EPSILON) - ops.log(outputs + EPSILON)), axis=-1)
        expected = ops.sum(outputs * bins, axis=-1)
        return kullback_leibler + DLDL_EXPECTATION * ops.abs(expected - ops.sum(wanted * bins, axis=-1))

    return divergence


def metric(target: str) -> Any:
    """What an epoch is judged by: absolute error in years (`mae`), or the share of right answers (`accuracy`)."""
    name = METRICS[target]
    if target == "age":
        return keras.metrics.MeanMetricWrapper(_years_off, name=name)
    if target == "gender":
        return keras.metrics.BinaryAccuracy(name=name)
    return keras.metrics.SparseCategoricalAccuracy(name=name)


def scores(judged: Mapping[str, float], targets: Sequence[str]) -> dict[str, float]:
    """The metric of each target in what Keras evaluated, as age_mae, gender_accuracy, race_accuracy."""
    names = {target: f"{target}_{METRICS[target]}" for target in targets}
    # Keras doesn't put the name of an only output before its metric's.
    return {name: judged[name if len(targets) > 1 else METRICS[target]] for target, name in names.items()}


def years(outputs: np.ndarray) -> np.ndarray:
    """Ages in years (n,) from the outputs of an age head, (n, 117) or (n, 1)."""
    bins = np.arange(AGE_BINS, dtype=np.float32)
    ages: np.ndarray = outputs[:, 0] if outputs.shape[1] == 1 else outputs @ bins
    return ages.clip(min=0)


def deviations(outputs: np.ndarray) -> np.ndarray | None:
    """Standard deviations in years (n,) of the distributions of an age head (n, 117); None of a head with a number."""
    if outputs.shape[1] == 1:
        return None
    bins = np.arange(AGE_BINS, dtype=np.float64)
    means = outputs @ bins
    return np.sqrt(np.maximum(outputs @ bins**2 - means**2, 0))


def _years_off(labels: keras.KerasTensor, outputs: keras.KerasTensor) -> keras.KerasTensor:
    """Absolute error (batch,) of the ages that the outputs stand for."""
    if outputs.shape[-1] > 1:
        outputs = ops.sum(outputs * ops.arange(AGE_BINS, dtype="float32"), axis=-1, keepdims=True)
    return ops.abs(ops.squeeze(ops.cast(labels, "float32") - outputs, axis=-1))
