"""Distillation: what the teacher says is joined to the labels, and what the loss makes of both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from faceline.datasets.records import ShardSettings
from faceline.errors import SourceError
from faceline.learning import heads, inputs, training
from faceline.learning.distillation import Lessons, distilled, divergence
from faceline.learning.inputs import Subset
from faceline.learning.losses import loss
from faceline.learning.recipe import Distill, Recipe
from faceline.learning.targets import Age, Gender, Race
from faceline.learning.teacher import Teacher, read_answers, write_answers
from tests.toys import RECIPE, ROWS, recipe, rows, write_shards

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(
        tmp_path_factory.mktemp("toys") / "shards", ShardSettings(formats=("tfrecord",), rows=20, seed=1)
    )


def bell(age: float, width: float = 3.0) -> np.ndarray:
    weights = np.exp(-0.5 * ((np.arange(117) - age) / width) ** 2)
    return np.asarray((weights / weights.sum())[None], np.float32)


def older(age: float) -> np.ndarray:
    """An ordinal head's output."""
    return np.asarray(1 - np.cumsum(bell(age), axis=1)[:, :-1], np.float32)


def test_answers_are_joined_by_image_id() -> None:
    teacher = Teacher(["b", "a"], {"gender": np.array([[0.75], [0.25]], np.float16)})
    lessons = Lessons(teacher, Distill(teacher=Path("t"), weight=0.25))
    ids = tf.constant(["a", "x", "b", "x"])
    labels = {"gender": tf.constant([[1.0], [0.0], [0.0], [0.0]]), "age": tf.ones((4, 1))}
    weights = {"gender": tf.constant([1.0, 1.0, 0.0, 0.0]), "age": tf.ones(4)}
    joined, counted = lessons.join(ids, labels, weights)
    # label, weight of its loss, weight of the teacher's, answer; the third row has no label, the last nothing at all
    expected = [[1, 0.75, 0.25, 0.25], [0, 1, 0], [0, 0, 0.25, 0.75], [0, 0, 0]]
    for row, wanted in zip(joined["gender"].numpy().tolist(), expected, strict=True):
        assert row[: len(wanted)] == pytest.approx(wanted)
    assert counted["gender"].numpy().tolist() == [1, 1, 1, 0]
    assert joined["age"].shape == (4, 1)  # the teacher says nothing of it
    assert counted["age"].numpy().tolist() == [1] * 4


HEADS: list[tuple[Any, np.ndarray, Callable[[float], np.ndarray]]] = [
    (Age(loss="dldl"), bell(30), bell),
    (Age(loss="crossentropy"), bell(30), bell),
    (Age(loss="dldl"), np.array([[30.0]]), bell),
    (Age(loss="mae"), bell(30), lambda age: np.array([[age]])),
    (Age(loss="mse"), np.array([[30.0]]), lambda age: np.array([[age]])),
    (Age(loss="ordinal"), bell(30), older),
    (Gender(loss="crossentropy"), np.array([[0.3]]), lambda age: np.array([[age / 100]])),
    (
        Race(loss="crossentropy"),
        np.array([[0.3, 0.7, 0, 0, 0]]),
        lambda age: np.array([[age, 100 - age, 0, 0, 0]]) / 100,
    ),
]


@pytest.mark.parametrize(("head", "answer", "student"), HEADS)
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_student_that_says_what_the_teacher_says_does_best(
    head: Any, answer: np.ndarray, student: Callable[[float], np.ndarray], temperature: float
) -> None:
    function = distilled(loss(head), head, temperature)
    taught = np.concatenate([[[0.0, 0.0, 1.0]], answer], axis=1).astype(np.float32)  # no label, only the teacher
    found = [np.asarray(function(tf.constant(taught), student(age).astype(np.float32))) for age in (20, 28, 30, 32, 60)]
    assert all(each.shape == (1,) for each in found)
    values = [float(each[0]) for each in found]
    assert values[2] == min(values)
    assert values[2] == pytest.approx(0, abs=0.01)
    assert values[0] > values[1] and values[4] > values[3]


@pytest.mark.parametrize(("head", "answer", "student"), HEADS)
def test_labels_and_teacher_are_mixed_by_their_weights(
    head: Any, answer: np.ndarray, student: Callable[[float], np.ndarray]
) -> None:
    plain = loss(head)
    function = distilled(plain, head, 1.0)
    label, output = np.array([[1.0]], np.float32), tf.constant(student(40), tf.float32)

    def value(own: float, taught: float) -> float:
        row = np.concatenate([label, [[own, taught]], answer], axis=1).astype(np.float32)
        return float(function(tf.constant(row), output)[0])

    alone = float(plain(tf.constant(label), output)[0])
    assert float(function(tf.constant(label), output)[0]) == pytest.approx(alone)  # as validation has it
    assert value(1, 0) == pytest.approx(alone, rel=1e-5)
    assert value(0.75, 0.25) == pytest.approx(0.75 * alone + 0.25 * value(0, 1), rel=1e-4)
    assert value(0, 0) == 0


def test_the_divergence_is_that_of_softened_distributions() -> None:
    wanted, given = np.array([[0.8, 0.2, 0.0]]), np.array([[0.5, 0.25, 0.25]])
    softened = [values**0.5 / (values**0.5).sum() for values in (wanted, given)]
    by_hand = sum(p * np.log(p / q) for p, q in zip(softened[0][0], softened[1][0], strict=True) if p)
    found = divergence(tf.constant(wanted, tf.float32), tf.constant(given, tf.float32), 2.0)
    assert float(found[0]) == pytest.approx(4 * by_hand, rel=1e-4)


def taught(path: Path, **changes: Any) -> Recipe:
    return recipe(distill={"teacher": path, "weight": 1.0, "temperature": 1.0}, **changes)


def test_a_student_learns_what_only_the_teacher_says(shards: Path, tmp_path: Path) -> None:
    """The teacher finds everybody 90 years old; the labels say otherwise and count for nothing."""
    ids = [row["image_id"] for row in rows(ROWS["train"], 0)]
    write_answers(tmp_path / "t.parquet", Teacher(ids, {"age": np.repeat(bell(90), len(ids), axis=0)}))
    settings = taught(tmp_path / "t.parquet", epochs=15, optimizer={"name": "adam", "learning_rate": 0.01})
    entry, subset = settings.networks[0], Subset.of(shards, "train")
    assert settings.distill
    lessons = Lessons(read_answers(tmp_path / "t.parquet"), settings.distill)
    model = training.build(entry, settings)
    training.compile_network(model, entry, settings, 3)
    batches = inputs.training(subset, settings, entry.targets.names, 0, lessons)
    model.fit(batches, epochs=15, steps_per_epoch=3, shuffle=False, verbose=0)
    ages = heads.years(model(next(iter(batches))[0])["age"].numpy(), "distribution")
    assert np.abs(ages - 90).mean() < 3


def test_two_networks_learn_from_one_teacher(shards: Path, tmp_path: Path) -> None:
    answers = {"gender": np.array([[0.5]]), "race": np.array([[1.0, 0, 0, 0, 0]])}
    write_answers(tmp_path / "t.parquet", Teacher(["0-0"], answers))
    whole = RECIPE["networks"][0]
    apart = [{**whole, "targets": {name: whole["targets"][name]}} for name in ("age", "gender")]
    settings = taught(tmp_path / "t.parquet", networks=apart, epochs=1)
    said: list[str] = []
    trained = training.train(settings, shards, tmp_path / "store", said.append)
    assert said[0] == f"teacher: {tmp_path / 't.parquet'} answers gender for 1 of 48 pictures"
    assert all(np.isfinite(row["loss"]) for each in trained for row in each.history)


def test_pictures_are_mixed_with_the_teachers_answers(shards: Path, tmp_path: Path) -> None:
    """A mixed row has two labels, each with its teacher's answers: the loss is as finite, and as large, as without."""
    ids = [row["image_id"] for row in rows(ROWS["train"], 0)]
    write_answers(tmp_path / "t.parquet", Teacher(ids, {"age": np.repeat(bell(40), len(ids), axis=0)}))
    losses = []
    for mixup in (0.0, 0.4):
        settings = taught(tmp_path / "t.parquet", epochs=1, augmentation={"mixup": mixup})
        trained = training.train(settings, shards, tmp_path / str(mixup), lambda line: None)[0]
        losses.append(trained.history[0]["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.2)
    assert losses[1] != losses[0]


def test_another_teacher_has_other_checkpoints(shards: Path, tmp_path: Path) -> None:
    folders = set()
    for age in (20.0, 30.0):
        write_answers(tmp_path / "t.parquet", Teacher(["a"], {"age": np.array([[age]])}))
        folders.add(training.checkpoints(tmp_path, shards, taught(tmp_path / "t.parquet")))
    assert len(folders) == 2


@pytest.mark.parametrize(
    ("ids", "answers", "lacking"),
    [(["x"], {"age": [[30.0]]}, "pictures"), (["0-0"], {"race": [[1.0, 0, 0, 0, 0]]}, "targets")],
)
def test_a_teacher_of_other_things_is_refused(
    shards: Path, tmp_path: Path, ids: list[str], answers: dict[str, Any], lacking: str
) -> None:
    write_answers(tmp_path / "t.parquet", Teacher(ids, {name: np.array(values) for name, values in answers.items()}))
    with pytest.raises(SourceError, match=f"has answers for none of the {lacking} of this training"):
        training.train(taught(tmp_path / "t.parquet"), shards, tmp_path / "store", print)
