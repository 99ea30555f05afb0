"""A head learned anew, after its network, on features of which each code has as many rows as the most frequent one.

System C's remedy for races that are rare: SMOTE (Chawla et al. 2002, https://doi.org/10.1613/jair.953) draws features
between those of neighbours of one code. To learn the head alone on balanced rows is "decoupled" training (Kang et al.
2020, https://arxiv.org/abs/1910.09217, section 4.1). This file needs no TensorFlow.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from faceline.datasets.labels import GENDERS, RACES
from faceline.errors import SettingsError
from faceline.params import Settings

NAMES = {"gender": GENDERS, "race": RACES}  # of the codes
NEVER = -30.0  # logit of a code that no row has; its probability is below 1e-12
ITERATIONS = 1000  # of the solver, at most; scikit-learn warns where they are too few


class Smote(Settings):
    """SMOTE on the features, then the head as a logistic regression."""

    learner: Literal["smote"]
    k_neighbors: Annotated[int, Field(ge=1)] = 5  # of its own code, between which and a row a new one is drawn
    c: Annotated[float, Field(gt=0)] = 1.0  # scikit-learn's C: the smaller, the stronger the L2 penalty


def require_neighbours(settings: Smote, target: str, counts: Mapping[str, int]) -> None:
    """Refuse training rows of which a code is too rare to be oversampled.

    Args:
        counts: rows by code, as the manifest of the shards has them; `unknown` does not count.
    """
    known = {int(code): rows for code, rows in counts.items() if code != "unknown"}
    if len(known) < 2:
        raise SettingsError(f"smote on {target} needs rows of at least 2 codes in train; there are {len(known)}")
    rarest = min(known, key=lambda code: known[code])
    if known[rarest] <= settings.k_neighbors and known[rarest] < max(known.values()):
        found = f"train has {known[rarest]} rows of {target} {NAMES[target][rarest]}"
        raise SettingsError(f"smote.k_neighbors is {settings.k_neighbors}, but {found}; it must be smaller")


def learn_head(
    settings: Smote, target: str, features: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The weights of the head of `target`, learned on oversampled rows.

    Args:
        features: (n, d) float32.
        labels: (n,) codes.
        seed: the same rows and seed give the same weights.

    Returns:
        Kernel (d, 1) and bias (1,) before the sigmoid of gender; (d, 5) and (5,) before the softmax of race.
    """
    from imblearn.over_sampling import SMOTE
    from imblearn.pipeline import make_pipeline
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler()  # so that no feature rules the distances between neighbours
    regression = LogisticRegression(C=settings.c, max_iter=ITERATIONS)
    smote = SMOTE(k_neighbors=settings.k_neighbors, random_state=seed)
    make_pipeline(scale, smote, regression).fit(features, labels.astype(int))
    kernel = (regression.coef_ / scale.scale_).T
    bias = regression.intercept_ - scale.mean_ @ kernel
    if target == "race":
        kernel, bias = _for_every_race(kernel, bias, regression.classes_)
    return kernel.astype(np.float32), bias.astype(np.float32)


def _for_every_race(kernel: np.ndarray, bias: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights for all codes from those for the codes that there are."""
    if len(classes) == 2:  # scikit-learn has one column then: the logit of the second, where the first's is 0
        kernel, bias = np.hstack([np.zeros_like(kernel), kernel]), np.concatenate([[0.0], bias])
    whole, biases = np.zeros((len(kernel), len(RACES))), np.full(len(RACES), NEVER)
    whole[:, classes], biases[classes] = kernel, bias
    return whole, biases
