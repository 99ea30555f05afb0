"""Whether exported graphs answer as what they were made from: the largest differences on rendered faces, and bounds.

The bounds are far above what rounding makes of an answer (docs/results.md), and far below what anybody would notice.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from faceline.datasets.labels import Gender, Race
from faceline.datasets.sample.picture import Shot, Sitter, take
from faceline.errors import ExportError
from faceline.export.graph import Graph
from faceline.learning.answering import CropPredictor

YEARS, PROBABILITY = 0.05, 0.002  # largest differences of an answer that are let through
DETECTION = 0.001  # of what MTCNN's networks give: scores, and offsets as a share of the box
BATCH = 16  # crops, or patches, asked at once
LEVEL = (60, 79)  # pixels, height and width of what P-Net is asked about: it sees pictures that are not square

Ask = Callable[[np.ndarray], Mapping[str, np.ndarray]]
Differences = dict[str, float]


def rendered(count: int, size: int) -> np.ndarray:
    """Pictures of people who do not exist, of all ages, uint8 (count, size, size, 3)."""
    empty = np.empty((0, size, size, 3), np.uint8)
    return np.concatenate([empty, *(np.asarray(take(_shot(number, size)))[None] for number in range(count))])


def answers(bundle: Path, crops: np.ndarray) -> dict[str, np.ndarray]:
    """What `CropPredictor` answers to crops, without what the bundle does not know."""
    wanted = vars(CropPredictor(bundle).predict_crops(crops))
    return {name: values for name, values in wanted.items() if values is not None and not np.isnan(values).all()}


def answers_apart(ask: Ask, wanted: Mapping[str, np.ndarray], crops: np.ndarray) -> Differences:
    """The largest difference of each answer for crops, from those `wanted`: years, or probability.

    Raises:
        ExportError: an answer is missing or another one too many, or a difference is above its bound.
    """
    bounds = {name: YEARS if name.startswith("age") else PROBABILITY for name in wanted}
    return _apart(wanted, _asked(ask, crops), bounds)


def detection_apart(graph: Graph, ask: Ask, pictures: np.ndarray) -> Differences:
    """The same for one of MTCNN's networks, on pictures (n, size, size, 3) that are resized to what it takes."""
    height, width = (side or default for side, default in zip(graph.takes.shape[1:3], LEVEL, strict=True))
    inputs = (tf.image.resize(pictures, (height, width)).numpy() - 127.5) / 128
    wanted = {name: values.numpy() for name, values in graph.function(inputs).items()}
    return _apart(wanted, _asked(ask, inputs), dict.fromkeys(wanted, DETECTION))


def _asked(ask: Ask, inputs: np.ndarray) -> dict[str, np.ndarray]:
    parts = [ask(inputs[start : start + BATCH]) for start in range(0, len(inputs), BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _apart(wanted: Mapping[str, Any], found: Mapping[str, np.ndarray], bounds: Mapping[str, float]) -> Differences:
    if wanted.keys() != found.keys():
        raise ExportError(f"the graph gives {', '.join(sorted(found))}, not {', '.join(sorted(wanted))}")
    differences: Differences = {}
    for name, values in wanted.items():
        # Not a number compares as neither more nor less.
        worst = float(np.abs(np.asarray(values, np.float64) - found[name]).max())
        if not worst <= bounds[name]:
            raise ExportError(f"{name} is off by up to {worst:g}; at most {bounds[name]:g} is allowed")
        differences[name] = worst
    return differences


def _shot(number: int, size: int) -> Shot:
    sitter = Sitter((number,), 1 + number * 7 % 90, Gender(number % 2), Race(number % 5))
    return Shot((number,), size, (sitter,))
