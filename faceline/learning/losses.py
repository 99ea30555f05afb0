"""The loss of each head: a function of labels (batch, 1) and outputs (batch, k), of each row (batch,)."""

from collections.abc import Callable
from functools import partial

import keras
from keras import ops

from faceline.datasets.labels import AGE_BINS, RACES
from faceline.learning.targets import Gender, Head, Race

EPSILON = 1e-7  # keeps logarithms finite
DLDL_EXPECTATION = 0.1  # weight of the error of the expectation beside the divergence, which has no unit

Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


def loss(head: Head) -> Loss:
    """The loss of a head."""
    if isinstance(head, Gender):
        return partial(keras.losses.binary_crossentropy, label_smoothing=head.label_smoothing)
    if isinstance(head, Race):
        return race_crossentropy(head.label_smoothing)
    of_age: dict[str, Loss] = {
        "dldl": dldl(head.sigma),
        "crossentropy": keras.losses.sparse_categorical_crossentropy,
        "mean_variance": mean_variance(head.mean_weight, head.variance_weight),
        "ordinal": coral,
        "mae": keras.losses.mean_absolute_error,
        "mse": keras.losses.mean_squared_error,
        "huber": partial(keras.losses.huber, delta=head.delta),
    }
    return of_age[head.loss]


def expectation(distribution: keras.KerasTensor) -> keras.KerasTensor:
    """The mean (batch, 1) in years of distributions over one-year bins (batch, 117)."""
    return ops.sum(distribution * ops.arange(AGE_BINS, dtype="float32"), axis=-1, keepdims=True)


def race_crossentropy(label_smoothing: float) -> Loss:
    """Categorical cross-entropy with a share of each label spread over all races."""

    def crossentropy(labels: keras.KerasTensor, outputs: keras.KerasTensor) -> keras.KerasTensor:
        wanted = ops.one_hot(ops.cast(labels[:, 0], "int32"), len(RACES))
        return keras.losses.categorical_crossentropy(wanted, outputs, label_smoothing=label_smoothing)

    return crossentropy


def dldl(sigma: float) -> Loss:
    """Deep label distribution learning with the expectation (DLDL-v2, Gao et al. 2018, https://www.ijcai.org/proceedings/2018/99).

    The label becomes a normal distribution over the bins; the loss is its divergence from the output, and a share of
    the absolute error of the expectation. The paper takes the error from the label, this from the mean of the
    distribution, so that both agree on what is best: they differ up to 6 years, where the bins cut it off at 0.
    """

    def divergence(labels: keras.KerasTensor, outputs: keras.KerasTensor) -> keras.KerasTensor:
        bins = ops.arange(AGE_BINS, dtype="float32")
        labels = ops.cast(labels, "float32")
        wanted = ops.softmax(-0.5 * ops.square((bins - labels) / sigma), axis=-1)
        kullback_leibler = ops.sum(wanted * (ops.log(wanted + EPSILON) - ops.log(outputs + EPSILON)), axis=-1)
        missed = ops.abs(expectation(outputs) - expectation(wanted))
        return kullback_leibler + DLDL_EXPECTATION * ops.squeeze(missed, axis=-1)

    return divergence


def mean_variance(mean_weight: float, variance_weight: float) -> Loss:
    """Cross-entropy over one-year bins, half the squared error of the mean, and the variance.

    Pan et al. 2018, https://openaccess.thecvf.com/content_cvpr_2018/html/Pan_Mean-Variance_Loss_for_CVPR_2018_paper.html,
    section 3.
    """

    def combined(labels: keras.KerasTensor, outputs: keras.KerasTensor) -> keras.KerasTensor:
        mean = expectation(outputs)
        bins = ops.arange(AGE_BINS, dtype="float32")
        variance = ops.sum(outputs * ops.square(bins - mean), axis=-1)
        missed = ops.squeeze(ops.square(mean - ops.cast(labels, "float32")), axis=-1)
        crossentropy = keras.losses.sparse_categorical_crossentropy(labels, outputs)
        return crossentropy + mean_weight * missed / 2 + variance_weight * variance

    return combined


def coral(labels: keras.KerasTensor, outputs: keras.KerasTensor) -> keras.KerasTensor:
    """The sum of the binary cross-entropies of "older than 0, 1, … 115 years" (Cao et al. 2020,
    https://arxiv.org/abs/1901.07884, section 3.3, all ages weighted alike).
    """
    steps = AGE_BINS - 1
    older = ops.cast(ops.cast(labels, "float32") > ops.arange(steps, dtype="float32"), "float32")
    return steps * keras.losses.binary_crossentropy(older, outputs)
