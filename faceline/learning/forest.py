"""A random forest on a network's features, grown by scikit-learn and kept as plain arrays: a bundle holds no pickles.

`faceline.learning.forest_head` answers with these arrays inside a network; this file needs no TensorFlow.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from faceline.datasets.labels import GENDERS, RACES
from faceline.params import Settings

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

CODES = {"gender": len(GENDERS), "race": len(RACES)}  # of the targets whose forest answers with probabilities
LEAF = -1  # what scikit-learn has for the children of a leaf


class Forest(Settings):
    """A random forest in the place of a head (Breiman 2001, https://doi.org/10.1023/A:1010933404324)."""

    learner: Literal["forest"]
    trees: Annotated[int, Field(ge=1, le=1000)] = 100
    max_depth: Annotated[int, Field(ge=1, le=24)] = 12  # bounds the file: a tree has at most 2^(max_depth + 1) nodes
    min_samples_leaf: Annotated[int, Field(ge=1)] = 5  # rows
    max_features: Annotated[float, Field(gt=0, le=1)] = 0.33  # share of the features tried at a split


@dataclass(frozen=True)
class Trees:
    """The trees of a forest, their nodes one after another; a leaf's children are the leaf itself.

    Attributes:
        roots: (trees,) int32; the node at which each tree starts.
        features: (nodes,) int32; the column that a node looks at.
        thresholds: (nodes,) float32; rows at most this go to the left child.
        children: (nodes, 2) int32; left and right.
        values: (nodes, outputs) float32; what a row that ends there is answered with.
        depth: steps from a root that reach any leaf.
    """

    roots: np.ndarray
    features: np.ndarray
    thresholds: np.ndarray
    children: np.ndarray
    values: np.ndarray
    depth: int

    @property
    def size(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in (self.roots, self.features, self.thresholds, self.children, self.values))


def grow(settings: Forest, target: str, features: np.ndarray, labels: np.ndarray, seed: int) -> Trees:
    """A forest that answers `target` from features.

    Args:
        features: (n, d) float32.
        labels: (n,); years, or codes.
        seed: the same rows and seed give the same trees, on any number of cores.

    Returns:
        Trees whose values are years (nodes, 1), the probability of female (nodes, 1), or those of the races (nodes, 5).
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestClassifier if target in CODES else RandomForestRegressor
    forest = kind(
        n_estimators=settings.trees,
        max_depth=settings.max_depth,
        min_samples_leaf=settings.min_samples_leaf,
        max_features=settings.max_features,
        random_state=seed,
        n_jobs=-1,
    )
    return as_arrays(forest.fit(features, labels.astype(int) if target in CODES else labels), target)


def as_arrays(forest: "RandomForestClassifier | RandomForestRegressor", target: str) -> Trees:
    """The arrays of a fitted forest that answers `target`."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])
    parts = []
    for tree, root in zip(trees, roots, strict=False):  # the last of `roots` is the number of nodes
        children = np.stack([tree.children_left, tree.children_right], axis=1)
        own = np.arange(tree.node_count)[:, None]
        parts.append(np.where(children == LEAF, own, children) + root)
    leaves = np.concatenate([tree.children_left for tree in trees]) == LEAF
    values = np.concatenate([tree.value[:, 0, :] for tree in trees])
    return Trees(
        roots=roots[:-1].astype(np.int32),
        features=np.where(leaves, 0, np.concatenate([tree.feature for tree in trees])).astype(np.int32),
        thresholds=_not_above(np.concatenate([tree.threshold for tree in trees])),
        children=np.concatenate(parts).astype(np.int32),
        values=_answers(values, target, getattr(forest, "classes_", None)),
        depth=max(tree.max_depth for tree in trees),
    )


def _not_above(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each float64: of float32 numbers, the same are at most it."""
    rounded = thresholds.astype(np.float32)
    lower: np.ndarray = np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    return lower


def _answers(values: np.ndarray, target: str, classes: np.ndarray | None) -> np.ndarray:
    """A node's values as the head of `target` answers; a code that no row has gets probability 0."""
    if classes is not None:
        shares = np.zeros((len(values), CODES[target]))
        shares[:, classes] = values
        values = shares[:, 1:] if target == "gender" else shares
    return values.astype(np.float32)
