"""Heads learned on oversampled features, and the codes that are too rare for it."""

import numpy as np
import pytest

from faceline.errors import SettingsError
from faceline.learning.oversampling import Smote, learn_head, require_neighbours

FEATURES = 4


def rows(counts: dict[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features whose mean is the code, apart by about one deviation; one of them is always 0."""
    labels = np.repeat(list(counts), list(counts.values()))
    features = np.random.default_rng(seed).normal(size=(len(labels), FEATURES)) * 3 + labels[:, None] * 2 + 10
    features[:, 1] = 0
    return features.astype(np.float32), labels


def predicted(kernel: np.ndarray, bias: np.ndarray, features: np.ndarray) -> np.ndarray:
    logits = features @ kernel + bias
    found: np.ndarray = logits.argmax(axis=1) if logits.shape[1] > 1 else (logits[:, 0] > 0).astype(int)
    return found


@pytest.mark.parametrize(("target", "units"), [("gender", 1), ("race", 5)])
def test_a_rare_code_is_found_as_often_as_a_frequent_one(target: str, units: int) -> None:
    features, labels = rows({0: 400, 1: 20}, 1)
    kernel, bias = learn_head(Smote(learner="smote"), target, features, labels, seed=1)
    assert kernel.shape == (FEATURES, units) and bias.shape == (units,)
    assert kernel.dtype == bias.dtype == np.float32
    asked, wanted = rows({0: 500, 1: 500}, 2)
    right = predicted(kernel, bias, asked) == wanted
    recalls = [right[wanted == code].mean() for code in (0, 1)]
    assert min(recalls) > 0.8 * max(recalls)


def test_a_race_that_no_row_has_is_never_answered() -> None:
    features, labels = rows({0: 50, 1: 20, 3: 30}, 1)
    kernel, bias = learn_head(Smote(learner="smote"), "race", features, labels, seed=1)
    assert set(predicted(kernel, bias, features)) == {0, 1, 3}
    assert not kernel[:, [2, 4]].any()


def test_the_same_rows_and_seed_give_the_same_head() -> None:
    first, again, other = (
        learn_head(Smote(learner="smote"), "race", *rows({0: 90, 1: 20}, 1), seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"0": 9, "3": 5}, "smote.k_neighbors is 5, but train has 5 rows of race indian; it must be smaller"),
        ({"0": 9, "unknown": 3}, "smote on race needs rows of at least 2 codes in train; there are 1"),
    ],
)
def test_codes_too_rare_to_be_oversampled_are_refused(counts: dict[str, int], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        require_neighbours(Smote(learner="smote"), "race", counts)
    assert caught.value.message == message


@pytest.mark.parametrize("counts", [{"0": 9, "3": 6, "unknown": 1}, {"0": 4, "1": 4}])
def test_codes_with_enough_rows_or_as_many_as_the_others_are_allowed(counts: dict[str, int]) -> None:
    require_neighbours(Smote(learner="smote"), "race", counts)
