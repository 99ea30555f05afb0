"""What the validation shard tells of a trained bundle.

Its metrics, its temperatures, how wide intervals must be, and how badly true labels may fit its answers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize_scalar

from faceline.learning import heads, inputs
from faceline.learning.answering import Answers, answers_of, difficulties, run
from faceline.learning.card import AgeInterval, Input, Nonconformity
from faceline.learning.conformal import nonconformity
from faceline.learning.inputs import Subset
from faceline.learning.pixels import prepare
from faceline.learning.recipe import Recipe
from faceline.learning.targets import AgeAnswers
from faceline.learning.training import Trained
from faceline.probabilities import binary, log_loss, tempered

HOTTEST = 5.0  # and 1/5 the coldest temperature: one beyond says that the rows are too few to fit it, or all right


@dataclass(frozen=True)
class Validated:
    """What goes into the card.

    Attributes:
        metrics: rows, and by target its metric.
        temperatures: of each target that has labels, but of ages only where they come as distributions.
        age_interval: None without age, or without its labels.
        nonconformity: of age and gender.
    """

    metrics: dict[str, Any]
    temperatures: dict[str, float]
    age_interval: AgeInterval | None
    nonconformity: Nonconformity


def validate(trained: Sequence[Trained], recipe: Recipe, shards: Path) -> Validated:
    """Judge on the validation shard, answering as the bundle will.

    The shard also chose the best epoch, so that all is a little better than on pictures that nobody has seen.
    """
    subset = Subset.of(shards, "val")
    outputs, labels = _judged(trained, recipe, subset)
    temperatures: dict[str, float] = {}
    interval = None
    for target in recipe.targets:
        known = labels[target] >= 0
        if not known.any():
            continue
        given, wanted = outputs[target][known], labels[target][known]
        if target == "age":
            if recipe.age_answers != "number":
                temperatures[target] = fit_age_temperature(given, recipe.age_answers, wanted)
            interval = fit_interval(
                given, recipe.age_answers, wanted, recipe.serving.coverage, temperatures.get(target, 1.0)
            )
        else:
            temperatures[target] = fit_temperature(binary(given[:, 0]) if target == "gender" else given, wanted)
    answered = answers_of(outputs, recipe, temperatures, interval)
    metrics: dict[str, Any] = {"rows": subset.rows}
    for target in recipe.targets:
        errors = _errors(target, answered, labels[target])[labels[target] >= 0]
        score = float(errors.mean()) if len(errors) else None
        metrics[target] = {"mae": score} if target == "age" else {"accuracy": None if score is None else 1 - score}
    none = np.full(subset.rows, -1)
    scores = nonconformity(answered, labels.get("age", none), labels.get("gender", none))
    return Validated(metrics, temperatures, interval, scores)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of (n, classes) with the lowest log loss for the codes (n,), n > 0.

    Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2. The loss has one minimum.
    """
    return _best_temperature(lambda temperature: log_loss(tempered(probabilities, temperature), labels))


def fit_age_temperature(outputs: np.ndarray, kind: AgeAnswers, ages: np.ndarray) -> float:
    """The temperature of outputs (n, k), of that kind, whose expectation is nearest `ages` (n,) in mean, n > 0.

    A distribution with a long tail, as those of children have, has an expectation that lies too far into it; the age
    with the least absolute error is the median. Fitted for that error and not for the log loss of one-year bins, since
    the expectation is the answer. 1 where no other is better.
    """

    def error(temperature: float) -> float:
        return float(np.abs(heads.years(outputs, kind, temperature) - ages).mean())

    return min(1.0, _best_temperature(error), key=error)


def _best_temperature(loss: Callable[[float], float]) -> float:
    """Where the loss of a temperature is least, between 1/HOTTEST and HOTTEST."""
    limit = math.log(HOTTEST)
    best = minimize_scalar(lambda log: loss(math.exp(log)), bounds=(-limit, limit), method="bounded")
    return math.exp(best.x)


def fit_interval(
    outputs: np.ndarray, kind: AgeAnswers, ages: np.ndarray, coverage: float, temperature: float = 1.0
) -> AgeInterval:
    """The interval for outputs (n, k) for age, of that kind, whose labels are `ages` (n,), n > 0.

    Locally weighted split conformal prediction, Lei et al. 2018, https://arxiv.org/abs/1604.04173, section 5.2: errors
    count in proportion to how hard the network takes the picture to be.
    """
    deviations = heads.deviations(outputs, kind)
    typical = None if deviations is None else float(deviations.mean())
    scores = np.abs(heads.years(outputs, kind, temperature) - ages) / difficulties(outputs, kind, typical)
    return AgeInterval(coverage=coverage, half_width=conformal_score(scores, coverage), typical_deviation=typical)


def conformal_score(scores: np.ndarray, coverage: float) -> float:
    """Split conformal prediction: the smallest of the `scores` (n,) that covers, corrected for their number.

    Lei et al. 2018, https://arxiv.org/abs/1604.04173, section 2.2. With too few scores for the coverage, the largest.
    """
    rank = math.ceil((len(scores) + 1) * coverage)
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def _judged(
    trained: Sequence[Trained], recipe: Recipe, subset: Subset
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """By target what its head gives (n, k), and its labels (n,), -1 where there is none."""
    batches = inputs.unvaried(subset, recipe, recipe.targets)
    networks = [(network.model, Input.of(recipe.of(network.settings))) for network in trained]

    outputs_of = tf.function(
        lambda crops: run(networks, partial(prepare, crops), recipe.serving.flip_averaging),
        input_signature=[batches.element_spec[0]],
    )
    outputs: dict[str, list[np.ndarray]] = {target: [] for target in recipe.targets}
    labels: dict[str, list[np.ndarray]] = {target: [] for target in recipe.targets}
    for crops, wanted, weights in batches:
        given = outputs_of(crops)
        for target in recipe.targets:
            outputs[target].append(given[target].numpy())
            labels[target].append(np.where(weights[target].numpy() > 0, wanted[target].numpy()[:, 0], -1))
    return _joined(outputs), _joined(labels)


def _joined(parts: Mapping[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {target: np.concatenate(arrays) for target, arrays in parts.items()}


def _errors(target: str, given: Answers, labels: np.ndarray) -> np.ndarray:
    """Absolute errors in years (n,) for age, else 1 for a wrong answer and 0 for a right one."""
    if target == "age":
        errors: np.ndarray = np.abs(np.asarray(given.age) - labels)
    elif target == "gender":
        errors = (np.asarray(given.female_probability) >= 0.5) != labels
    else:
        errors = np.asarray(given.race_probabilities).argmax(axis=1) != labels
    return errors.astype(float)
