"""Distillation: a network learns from a teacher's answers as well as from the labels (Hinton et al. 2015,
https://arxiv.org/abs/1503.02531).

`Lessons` puts the answers beside a batch's labels, `distilled` is the loss that takes them apart again. The labels of a
taught head are (batch, 3 + k): the label; the weight of its loss; the weight of the teacher's; the teacher's k numbers.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from faceline.learning.heads import expected
from faceline.learning.losses import DLDL_EXPECTATION, Loss, expectation
from faceline.learning.recipe import Distill
from faceline.learning.targets import Age, Gender, Head
from faceline.learning.teacher import Teacher

EPSILON = 1e-30  # keeps logarithms finite; small, since softening lifts what is added
Columns = dict[str, tf.Tensor]


class Lessons:
    """A teacher's answers, held once, for the rows of the training set that it has judged."""

    def __init__(self, teacher: Teacher, settings: Distill):
        rows = tf.range(len(teacher.image_ids), dtype=tf.int64)
        known = tf.lookup.KeyValueTensorInitializer(tf.constant(teacher.image_ids), rows)
        self._rows = tf.lookup.StaticHashTable(known, default_value=-1)
        self._answers = {target: tf.constant(answers) for target, answers in teacher.answers.items()}
        self._weight = settings.weight

    def join(self, image_ids: tf.Tensor, labels: Columns, weights: Columns) -> tuple[Columns, Columns]:
        """The batch with the teacher's answers.

        A row that the teacher has not judged learns from its label alone, one without a label from the teacher alone.

        Args:
            image_ids: (batch,) text.
            labels: (batch, 1) by target; the targets that the teacher answers come back as (batch, 3 + k).
            weights: (batch,) of the rows in the loss of labels, by target; what comes back is 1 where any loss counts.
        """
        row = self._rows.lookup(image_ids)
        taught = self._weight * tf.cast(row >= 0, tf.float32)
        labels, weights = dict(labels), dict(weights)
        for target in labels.keys() & self._answers.keys():
            answers = tf.cast(tf.gather(self._answers[target], tf.maximum(row, 0)), tf.float32)
            own = weights[target] * (1 - taught)
            labels[target] = tf.concat([labels[target], own[:, None], taught[:, None], answers], axis=1)
            weights[target] = tf.cast(own + taught > 0, tf.float32)
        return labels, weights


def distilled(loss: Loss, head: Head, temperature: float) -> Loss:
    """A head's `loss` of labels, mixed with the loss of the teacher's answers where they stand beside the labels."""

    def mixed(labels: keras.KerasTensor, outputs: keras.KerasTensor) -> keras.KerasTensor:
        if labels.shape[-1] == 1:  # validation is judged by labels alone
            return loss(labels, outputs)
        label, own, taught, answers = labels[:, :1], labels[:, 1], labels[:, 2], labels[:, 3:]
        return own * loss(label, outputs) + taught * _gap(loss, head, temperature, answers, outputs)

    return mixed


def _gap(loss: Loss, head: Head, temperature: float, answers: Any, outputs: Any) -> Any:
    """How far outputs (batch, m) are from the teacher's answers (batch, k): a divergence if both are distributions.

    Of ages as mere numbers, by the student or the teacher: the head's own loss if it answers with a number, else the
    absolute error of its expectation, weighted as in DLDL-v2.
    """
    if isinstance(head, Gender):
        answers, outputs = (ops.concatenate([1 - values, values], axis=-1) for values in (answers, outputs))
    if not isinstance(head, Age):
        return divergence(answers, outputs, temperature)
    if head.answers == "distribution" and answers.shape[-1] > 1:
        return divergence(answers, outputs, temperature)
    years = expectation(answers) if answers.shape[-1] > 1 else answers
    if head.answers == "number":
        return loss(years, outputs)
    return DLDL_EXPECTATION * ops.squeeze(ops.abs(expected(outputs, head) - years), axis=-1)


def divergence(wanted: Any, given: Any, temperature: float) -> Any:
    """Kullback-Leibler divergence (batch,) of distributions (batch, k), both softened by `temperature`, as on logits.

    Times the square of the temperature, so that its gradients keep their size (Hinton et al. 2015, section 2).
    """
    softened = ops.power(wanted, 1 / temperature)
    softened = softened / ops.sum(softened, axis=-1, keepdims=True)
    logarithms = ops.log_softmax(ops.log(given + EPSILON) / temperature, axis=-1)
    return temperature**2 * ops.sum(softened * (ops.log(softened + EPSILON) - logarithms), axis=-1)
