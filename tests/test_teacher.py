"""The table of a teacher's answers: written and read again, kept small, and refused where it is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceline.errors import SourceError
from faceline.learning.teacher import Teacher, read_answers, write_answers


def probabilities(rows: int, width: int, spread: float = 5.0) -> np.ndarray:
    """Rows of probabilities about a centre of their own, uneven as a network's are."""
    random = np.random.default_rng(1)
    centres = random.uniform(0, width, (rows, 1))
    weights = np.exp(-0.5 * ((np.arange(width) - centres) / spread) ** 2) * random.uniform(0.5, 1, (rows, width))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def test_answers_come_back_as_they_were_written(tmp_path: Path) -> None:
    female = np.array([[0.25], [0.75]])
    answers = {"age": probabilities(2, 117), "gender": female, "race": probabilities(2, 5, 1.0)}
    write_answers(tmp_path / "t.parquet", Teacher(["a", "b"], answers))
    found = read_answers(tmp_path / "t.parquet")
    assert found.image_ids == ["a", "b"]
    assert found.answers.keys() == answers.keys()
    for target, values in answers.items():
        assert np.allclose(found.answers[target], values, atol=1e-3)
    write_answers(tmp_path / "t.parquet", Teacher(["a", "b"], {"age": np.array([[30.5], [7.0]])}))
    assert read_answers(tmp_path / "t.parquet").answers["age"].tolist() == [[30.5], [7]]


def test_16_000_distributions_are_small_enough_to_commit(tmp_path: Path) -> None:
    rows = 16_000
    ids = [bytes(row).hex() for row in np.random.default_rng(1).integers(0, 256, (rows, 32), np.uint8)]
    tails = np.random.default_rng(2).uniform(0, 9e-6, (rows, 117))  # such as a softmax has everywhere
    answers = {
        "age": probabilities(rows, 117, 6.0) + tails,
        "gender": probabilities(rows, 1),
        "race": probabilities(rows, 5),
    }
    write_answers(tmp_path / "t.parquet", Teacher(ids, answers))
    assert (tmp_path / "t.parquet").stat().st_size < 3_000_000


RACES = [0.6, 0.1, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image_id": ["a"]}, "has the columns image_id; a teacher's answers are image_id and at least one of"),
        ({"age": [1.0]}, "has the columns age; a teacher's answers are"),
        ({"image_id": ["a"], "age": [1.0], "sex": [1]}, "has the columns image_id, age, sex; a teacher's answers are"),
        ({"image_id": ["a"], "age": [1.0], "age_distribution": [[1.0]]}, "at least one of age_distribution or age,"),
        ({"image_id": [1], "age": [1.0]}, "image_id is int64, not string"),
        ({"image_id": ["a", "a"], "age": [1.0, 2.0]}, "image_id must name at least one picture, and each once"),
        ({"image_id": pa.array([], pa.string()), "age": pa.array([], pa.float32())}, "at least one picture"),
        ({"image_id": ["a"], "age": [float("nan")]}, "age of a is nan; allowed: from 0 to 116"),
        ({"image_id": ["a", "b"], "age": [1.0, None]}, "age of b is nan; allowed: from 0 to 116"),
        ({"image_id": ["a"], "age": [117.0]}, "age of a is 117.0; allowed: from 0 to 116"),
        ({"image_id": ["a"], "age": ["old"]}, "age is string, not a number with a fraction in every row"),
        ({"image_id": ["a"], "female_probability": [1.5]}, "female_probability of a is 1.5; allowed: from 0 to 1"),
        ({"image_id": ["a"], "age_distribution": [[0.5, 0.5]]}, "not a list of 117 numbers with a fraction in every"),
        ({"image_id": ["a", "b"], "race_probabilities": [RACES, None]}, "not a list of 5 numbers with a fraction in"),
        ({"image_id": ["a", "b"], "race_probabilities": [RACES, RACES[:3]]}, "not a list of 5 numbers with a fraction"),
        (
            {"image_id": ["a", "b"], "race_probabilities": [RACES, [0.1] * 5]},
            "race_probabilities of b is 0.1 to 0.1, sum 0.5; allowed: probabilities that add up to 1",
        ),
        ({"image_id": ["a"], "race_probabilities": [[1.2, -0.2, 0.0, 0.0, 0.0]]}, "race_probabilities of a is -0.2 to"),
    ],
)
def test_a_wrong_table_is_told_in_one_line(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), file)
    with pytest.raises(SourceError) as caught:
        read_answers(file)
    assert caught.value.message.startswith(str(file))
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_what_is_no_table_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("nothing")
    with pytest.raises(SourceError, match=r"t.parquet cannot be read as a table: "):
        read_answers(tmp_path / "t.parquet")
