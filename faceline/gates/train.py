"""The gate of models/bundle: the training learnt something, and what it left loads and answers as well as it learnt."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from faceline.console import load_tensorflow
from faceline.errors import FacelineError
from faceline.gates.expectations import Expectation, Gate, Inputs, Judged, absent, between, equal, exists, known, rows
from faceline.gates.frames import facts
from faceline.gates.limits import Share
from faceline.params import Settings

if TYPE_CHECKING:  # the bundle imports TensorFlow, which who reads these settings need not wait for
    from faceline.learning.answering import Answers, CropPredictor

METRICS = {"age": "mae", "gender": "accuracy", "race": "accuracy"}
NUMBERS = ["loss", "val_loss", "learning_rate"]
LARGEST = sys.float_info.max  # what is above is not finite
GREY = 128  # level of every pixel of the blank crop


class Limits(Settings):
    """Thresholds of the train gate."""

    # Of the validation loss, from the first epoch to the best, relative to the first. It is not asked of networks that
    # go on from a bundle or whose heads learn first: those may begin at their best.
    min_fall: Share
    packed_tolerance: Share  # by which the bundle may answer worse than its networks at their best epochs, relative


def suite(inputs: Inputs, limits: Limits) -> Iterator[Judged]:
    """The history, then whether the bundle loads, then what its networks learnt and what it answers."""
    history = pd.read_csv(inputs.beside)
    needed = [exists(name, why="plots and this gate read it") for name in ("network", "epoch", *NUMBERS)]
    yield Judged(inputs.beside.name, history, None, needed, essential=True)
    yield _epochs(history)
    predictor, problem = _load(inputs.table)
    frame = pd.DataFrame({"bundle": [inputs.table.name], "problem": pd.Series([problem], dtype=str)})
    loads = [rows(1, 1, why="there is a bundle"), absent("problem", why="evaluation and serving load it")]
    yield Judged("bundle", frame, "bundle", loads, essential=True)
    if predictor:
        yield _networks(history, 0 if predictor.card.recipe.settings.begins_trained else limits.min_fall)
        yield packed(history, predictor.card.validation, limits)
        size = predictor.card.crop.size
        yield blank(predictor.predict_crops(np.full((1, size, size, 3), GREY, np.uint8)))


def _epochs(history: pd.DataFrame) -> Judged:
    frame = history.assign(row=history["network"] + " epoch " + history["epoch"].astype(str))
    finite = [
        between(name, 0, LARGEST, why="a loss that is not finite is a training that diverged") for name in NUMBERS
    ]
    expectations = [
        rows(1, why="there was an epoch"),
        *(known(name, why="NaN is not finite") for name in NUMBERS),
        *finite,
    ]
    return Judged("epochs", frame, "row", expectations, numbers={"rows": len(frame)})


def _networks(history: pd.DataFrame, min_fall: float) -> Judged:
    by_network = history.groupby("network", sort=True)
    frame = (
        by_network["val_loss"].agg(first="first", best="min").join(by_network["epoch"].agg(["size", "max", "nunique"]))
    )
    frame["fall"] = (frame["first"] - frame["best"]) / frame["first"]
    expectations = [
        equal("size", "max", why="epochs are numbered from 1, with none left out"),
        equal("size", "nunique", why="no epoch is written twice"),
        known("fall", why="there is a loss to fall from"),
        between("fall", min_fall, 1, why="a validation loss that doesn't fall is a network that doesn't learn"),
    ]
    return Judged("networks", frame.reset_index(), "network", expectations)


def _load(bundle: Path) -> "tuple[CropPredictor | None, str | None]":
    """The predictor, or why there is none: of a damaged network file Keras says so in its own words."""
    load_tensorflow()
    from faceline.learning.answering import CropPredictor

    try:
        return CropPredictor(bundle), None
    except (FacelineError, OSError, ValueError) as error:
        return None, " ".join(str(error).split())


def packed(history: pd.DataFrame, validation: Mapping[str, Any], limits: Limits) -> Judged:
    """Whether the bundle answers the validation shard as well as its networks did: rounding or new heads may spoil it.

    Args:
        history: a row an epoch, as in history.csv.
        validation: what the bundle's card says of the same rows.
    """
    finite = history.dropna(subset=["val_loss"])
    best = finite.loc[finite.groupby("network")["val_loss"].idxmin()]
    rows = []
    for target, metric in METRICS.items():
        learnt, answered = best.get(f"val_{target}_{metric}"), validation.get(target, {}).get(metric)
        if learnt is None or answered is None or not learnt.mean() > 0:  # no such head, or no labels
            continue
        change = answered / learnt.mean() - 1
        rows.append({"target": target, "worse": change if metric == "mae" else -change})
    frame = pd.DataFrame(rows, columns=["target", "worse"])
    why = "what was done to the networks after their training must not spoil them"
    return Judged("packed", frame, "target", [between("worse", None, limits.packed_tolerance, why=why)])


def blank(answers: "Answers") -> Judged:
    """What is answered for one crop without a face: nothing sensible, but numbers, and possible ones."""
    values: dict[str, float] = {}
    expectations: list[Expectation] = []
    if answers.age is not None:
        values |= {"age": float(answers.age[0])}
        expectations.append(between("age", -20, 150, why="years of a life, with room for a regression's error"))
    if answers.female_probability is not None:
        values |= {"female": float(answers.female_probability[0])}
        expectations.append(between("female", 0, 1, why="a probability"))
    if answers.race_probabilities is not None:
        races = answers.race_probabilities[0]
        values |= {"race_lowest": float(races.min()), "race_total": float(races.sum())}
        expectations.append(between("race_lowest", 0, 1, why="a probability"))
        expectations.append(between("race_total", 0.999, 1.001, why="probabilities of all races add up to 1"))
    finite = [known(name, why="NaN is no answer") for name in values]
    return facts("answers for a blank crop", values, [*expectations, *finite])


GATE = Gate(Limits, suite)
