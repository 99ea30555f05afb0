"""Imbalance: weights by label, and rows drawn by how rare their label is."""

from collections import Counter

import numpy as np
import pytest

from faceline.datasets.records import ShardSettings
from faceline.errors import SourceError
from faceline.files import read_json, write_json
from faceline.learning import inputs
from faceline.learning.inputs import Subset
from faceline.learning.recipe import Recipe, Sampling
from faceline.learning.targets import Age, LabelDistributionSmoothing, Race
from faceline.learning.weighting import label_weights, repetitions
from tests.toys import ROWS, network, recipe, rows, write_shards

COUNTS = {"age": {"20": 90, "21": 90, "60": 10, "90": 10}, "race": {"0": 80, "1": 15, "4": 5, "unknown": 10}}


def mean(weights: np.ndarray, target: str) -> float:
    known = {int(label): count for label, count in COUNTS[target].items() if label != "unknown"}
    return float(np.average(weights[list(known)], weights=list(known.values())))


def test_rare_ages_and_their_neighbours_count_more() -> None:
    smoothing = LabelDistributionSmoothing(sigma=2, power=1, cap=50)
    weights = label_weights(Age(loss="mae", label_distribution_smoothing=smoothing), COUNTS)
    assert weights is not None
    assert weights.shape == (117,)
    assert mean(weights, "age") == pytest.approx(1, rel=1e-5)
    assert weights[22] == pytest.approx(weights[19], rel=1e-5)
    assert weights[61] == pytest.approx(weights[59], rel=1e-5)
    assert weights[61] > 3 * weights[22]
    milder = smoothing.model_copy(update={"power": 0.5})
    half = label_weights(Age(loss="mae", label_distribution_smoothing=milder), COUNTS)
    assert half is not None
    assert half[60] / half[20] == pytest.approx((weights[60] / weights[20]) ** 0.5, rel=1e-4)
    assert label_weights(Age(loss="mae"), COUNTS) is None


def test_weights_are_capped() -> None:
    weights = label_weights(Race(loss="crossentropy", class_weights="balanced", cap=2), COUNTS)
    assert weights is not None
    assert weights[4] == weights[1] == weights[2]  # the cap; code 2 does not occur
    assert mean(weights, "race") == pytest.approx(1, rel=1e-5)


def test_balanced_classes_add_up_to_the_same_weight() -> None:
    weights = label_weights(Race(loss="crossentropy", class_weights="balanced", cap=100), COUNTS)
    assert weights is not None
    assert [weights[code] * n for code, n in ((0, 80), (1, 15), (4, 5))] == pytest.approx([100 / 3] * 3, rel=1e-5)


def test_class_weights_may_be_given_by_name() -> None:
    weights = label_weights(Race(loss="crossentropy", class_weights={"other": 4, "white": 0.5}), COUNTS)
    assert weights is not None
    assert weights.tolist() == [0.5, 1, 1, 1, 4]


def test_bins_are_drawn_by_the_power_of_their_number() -> None:
    by_age = repetitions(Sampling(by="age", power=1, years=10), COUNTS)
    assert by_age is not None
    assert [by_age[age] * n for age, n in ((20, 180), (60, 10), (90, 10))] == pytest.approx([200 / 3] * 3)
    half = repetitions(Sampling(by="race", power=0.5), COUNTS)
    assert half is not None
    drawn = np.array([half[code] * n for code, n in ((0, 80), (1, 15), (4, 5))])
    assert drawn.sum() == pytest.approx(100, rel=1e-5)
    assert drawn / drawn[2] == pytest.approx(np.sqrt([16, 3, 1]), rel=1e-4)
    same = repetitions(Sampling(by="race", power=0), COUNTS)
    assert same is not None
    assert same[[0, 1, 4]] == pytest.approx([1, 1, 1])
    assert repetitions(Sampling(), COUNTS) is None


def test_labels_that_no_row_has_are_refused() -> None:
    with pytest.raises(SourceError, match="no row of train has a known race to weight or to sample by"):
        repetitions(Sampling(by="race"), {"race": {"unknown": 3}})


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Subset:
    """Toy shards with a manifest that counts their races."""
    shards = write_shards(
        tmp_path_factory.mktemp("toys") / "shards", ShardSettings(formats=("tfrecord",), rows=20, seed=1)
    )
    manifest = read_json(shards / "manifest.json")
    counts = Counter("unknown" if row["race"] is None else str(row["race"]) for row in rows(ROWS["train"], 0))
    manifest["label_counts"]["train"]["race"] = dict(counts)
    write_json(shards / "manifest.json", manifest)
    return Subset.of(shards, "train")


def drawn(subset: Subset, settings: Recipe, first_epoch: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and weights of race of every row that a training sees."""
    batches = [
        (y["race"].numpy()[:, 0], w["race"].numpy())
        for _, y, w in inputs.training(subset, settings, ("race",), first_epoch)
    ]
    labels, weights = zip(*batches, strict=True)
    return np.concatenate(labels), np.concatenate(weights)


def test_an_epoch_draws_rare_races_more_often_and_stays_as_long(train: Subset) -> None:
    plain = recipe(networks=[network("race")], epochs=40, shuffle_buffer=20)
    settings = plain.model_copy(update={"sampling": Sampling(by="race", power=1)})
    labels, weights = drawn(train, settings)
    assert len(labels) == 40 * ROWS["train"]
    counts = np.bincount(labels[weights > 0].astype(int), minlength=5)
    assert counts / counts.sum() == pytest.approx([0.2] * 5, abs=0.03)
    assert (weights == 0).mean() == pytest.approx(1 / 3, abs=0.03)  # rows without a race come as often as before


def test_sampling_can_be_had_again_from_an_epoch_on(train: Subset) -> None:
    settings = recipe(networks=[network("race")]).model_copy(update={"sampling": Sampling(by="race", power=1)})
    whole, later = drawn(train, settings)[0], drawn(train, settings, 1)[0]
    assert np.array_equal(whole[ROWS["train"] :], later)
    assert not np.array_equal(whole[: ROWS["train"]], later[: ROWS["train"]])


def test_rows_weigh_as_their_class_in_training_alone(train: Subset) -> None:
    entry = network("race")
    entry["targets"]["race"]["class_weights"] = {"white": 3}
    settings = recipe(networks=[entry])
    labels, weights = drawn(train, settings)
    known = weights > 0
    assert set(weights[known & (labels == 0)]) == {3}
    assert set(weights[known & (labels != 0)]) == {1}
    assert known.mean() == pytest.approx(2 / 3)
    judged = [w["race"].numpy() for _, _, w in inputs.judging(train, settings, ("race",))]
    assert set(np.concatenate(judged)) == {0, 1}
