"""Forests as arrays and as a layer answer as scikit-learn's do, and are saved without pickles."""

import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from faceline.learning.answering import LAYERS
from faceline.learning.forest import Forest, Trees, as_arrays, grow
from faceline.learning.forest_head import ForestHead

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
FEATURES = 6
SETTINGS = Forest(learner="forest", trees=7, max_depth=5, min_samples_leaf=2)


def rows(count: int, seed: int) -> np.ndarray:
    """Features as pooled ones are: not negative, many of them 0."""
    found: np.ndarray = np.random.default_rng(seed).normal(size=(count, FEATURES)).clip(min=0).astype(np.float32)
    return found


def labels(target: str, features: np.ndarray) -> np.ndarray:
    total = features.sum(axis=1)
    if target == "age":
        return np.round(20 * total)
    return (total > 2).astype(int) if target == "gender" else np.array([0, 2, 4])[np.digitize(total, [1, 3])]


def answers(trees: Trees, features: np.ndarray) -> np.ndarray:
    found: np.ndarray = keras.ops.convert_to_numpy(ForestHead.of(trees, FEATURES, "head")(features))
    return found


def scikit_learn(target: str, **settings: Any) -> Any:
    kind = RandomForestRegressor if target == "age" else RandomForestClassifier
    return kind(n_estimators=7, max_depth=5, min_samples_leaf=2, random_state=1, **settings)


@pytest.mark.parametrize("target", ["age", "gender", "race"])
def test_the_layer_answers_as_scikit_learn_does(target: str) -> None:
    learned, asked = rows(200, 1), np.concatenate([rows(200, 1), rows(200, 2)])
    known = labels(target, learned)
    forest = scikit_learn(target, max_features=0.33).fit(learned, known)
    found = answers(grow(SETTINGS, target, learned, known, seed=1), asked)
    if target == "age":
        wanted = forest.predict(asked)[:, None]
    elif target == "gender":
        wanted = forest.predict_proba(asked)[:, 1:]
    else:
        wanted = np.zeros((len(asked), 5))  # no row is black or indian
        wanted[:, [0, 2, 4]] = forest.predict_proba(asked)
    assert found.dtype == np.float32
    assert np.allclose(found, wanted, rtol=0, atol=1e-5)
    assert found.std() > 0.1


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_thresholds_between_two_neighbouring_numbers_part_them(step: int) -> None:
    """The middle of two neighbouring float32 is none, and to round it up would send both to the left."""
    low = np.nextafter(np.float32(3), np.float32(step * np.inf)) if step else np.float32(3)
    features = np.zeros((4, FEATURES), np.float32)
    features[:, 0] = [low, low, *[np.nextafter(low, np.float32(np.inf))] * 2]
    known = np.array([20, 20, 60, 60])
    forest = RandomForestRegressor(n_estimators=1, bootstrap=False).fit(features, known)
    assert answers(as_arrays(forest, "age"), features)[:, 0].tolist() == known.tolist()


def test_a_tree_without_a_split_answers_as_its_root() -> None:
    trees = grow(SETTINGS, "age", rows(30, 1), np.full(30, 40.0), seed=1)
    assert trees.depth == 0
    assert answers(trees, rows(3, 2)).tolist() == [[40]] * 3


def test_the_same_rows_and_seed_give_the_same_trees() -> None:
    learned = rows(100, 1)
    first, again, other = (grow(SETTINGS, "age", learned, labels("age", learned), seed) for seed in (1, 1, 2))
    assert np.array_equal(first.thresholds, again.thresholds)
    assert not np.array_equal(first.thresholds, other.thresholds)


def test_limits_bound_the_size() -> None:
    learned = rows(300, 1)
    trees = grow(SETTINGS, "age", learned, labels("age", learned), seed=1)
    assert trees.depth <= 5
    assert len(trees.roots) == 7
    assert len(trees.values) <= 7 * 2**6
    assert trees.size == 7 * 4 + len(trees.values) * 20


def test_a_saved_forest_holds_arrays_alone_and_loads_in_safe_mode(tmp_path: Path) -> None:
    learned, asked = rows(100, 1), rows(20, 2)
    image = keras.Input((FEATURES,))
    head = ForestHead.of(grow(SETTINGS, "race", learned, labels("race", learned), seed=1), FEATURES, "race")
    model = keras.Model(image, {"race": head(image)})
    model.save(tmp_path / "forest.keras")
    assert set(zipfile.ZipFile(tmp_path / "forest.keras").namelist()) == {
        "metadata.json",
        "config.json",
        "model.weights.h5",
    }
    loaded = keras.saving.load_model(tmp_path / "forest.keras", custom_objects=LAYERS, safe_mode=True)
    assert loaded.output_names == ["race"]
    assert np.array_equal(loaded.predict_on_batch(asked)["race"], model.predict_on_batch(asked)["race"])
