"""Logit adjustment: ages and races with few rows are answered more often, by the biases of the trained heads alone.

A head learned by cross-entropy answers in proportion to how frequent a class was in training. With each bias lowered
by τ times the logarithm of its class's share of the rows, it answers in proportion to p(y | x) / p(y)^τ: Menon et al.
2021, https://arxiv.org/abs/2007.07314, its post-hoc form. Right answers move from frequent classes to rare ones; at
τ = 1 all classes count alike, unless weights in the loss or sampling evened them out before. One year has few rows more
than the next by chance, so the shares of ages are smoothed.
"""

import keras
import numpy as np
from scipy.ndimage import gaussian_filter1d

from faceline.learning.targets import Targets
from faceline.learning.weighting import Counts, rows_by_label

YEARS = 3.0  # width (sigma) of the normal kernel that smooths the rows of ages


def adjust(model: keras.Model, targets: Targets, counts: Counts) -> None:
    """Change the biases of the heads for age and race by their `logit_adjustment`; gender has none.

    Args:
        model: the trained network, changed in place.
        targets: its heads.
        counts: rows of train by target and label; a class without rows keeps its bias.
    """
    for name in targets.adjusted:
        bias = model.get_layer(name).bias
        bias.assign(bias.numpy() - getattr(targets, name).logit_adjustment * np.log(shares(name, counts)))


def shares(target: str, counts: Counts) -> np.ndarray:
    """What part of the rows has each code, (117,) smoothed over years or (5,), as if of one row at least; 1 without."""
    rows = rows_by_label(target, counts)
    if target == "age":
        rows = gaussian_filter1d(rows, YEARS, mode="constant")
    return np.where(rows > 0, np.maximum(rows, 1) / rows.sum(), 1)
