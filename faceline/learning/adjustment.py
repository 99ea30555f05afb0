"""Logit adjustment: races with few rows are answered more often, by the biases of the trained head alone.

A head learned by cross-entropy answers in proportion to how frequent a class was in training. With each bias lowered
by τ times the logarithm of its class's share of the rows, it answers in proportion to p(y | x) / p(y)^τ: Menon et al.
2021, https://arxiv.org/abs/2007.07314, its post-hoc form. Right answers move from frequent classes to rare ones; at
τ = 1 all classes count alike.
"""

import keras
import numpy as np

from faceline.learning.targets import Targets
from faceline.learning.weighting import Counts, rows_by_label


def adjust(model: keras.Model, targets: Targets, counts: Counts) -> None:
    """Change the biases of the head for race by its `logit_adjustment`; other heads have none.

    Args:
        model: the trained network, changed in place.
        targets: its heads.
        counts: rows of train by target and label; a class without rows keeps its bias.
    """
    if targets.race is None or not targets.race.logit_adjustment:
        return
    rows = rows_by_label("race", counts)
    shares = np.where(rows > 0, rows / rows.sum(), 1)
    bias = model.get_layer("race").bias
    bias.assign(bias.numpy() - targets.race.logit_adjustment * np.log(shares))
