"""The stage on small tables with a stand-in for the bundle's networks."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from faceline.datasets.crops import CropFormat
from faceline.datasets.tables import PREDICTIONS
from faceline.errors import GateError, SourceError
from faceline.evaluation.metrics import Constants, evaluate
from faceline.evaluation.plots import PLOTS
from faceline.faces.decoding import encode_png
from faceline.files import digest, read_json, read_table
from faceline.gates.passes import pass_file, write_pass
from faceline.learning import answering, predicting
from faceline.learning.answering import Answers
from faceline.learning.card import Constants as Learnt
from stages import evaluate as stage
from tests.builders import SIDE, World, shard, spoil, world

JUDGED = {"ingest": "ingest", "clean": "clean", "crop": "crop", "split": "split", "shard": "shards", "train": "bundle"}


LEARNT = Learnt(age_mean=44.0, age_median=45.0, gender=1, race=None)


@dataclass(frozen=True)
class FakeCard:
    constants: Learnt = LEARNT
    temperatures: dict[str, float] = field(default_factory=lambda: {"gender": 2.0})


class FakePredictor:
    """Answers from the mean brightness of a crop, so that an answer at the wrong row shows."""

    def __init__(self, path: Path):
        self.card = FakeCard()

    def predict_crops(self, crops: np.ndarray) -> Answers:
        level = crops.mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)
        none = np.full(len(crops), np.nan, np.float32)
        return Answers(age=level, age_low=none, age_high=none, female_probability=level / 255)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(answering, "CropPredictor", FakePredictor)
    tables = world(tmp_path / "data")
    pass_all(tables)
    return tables


def pass_all(made: World) -> None:
    for gate, folder in JUDGED.items():
        write_pass(made / "gates", gate, made / folder)


def run(made: World, output: str = "judged") -> Result:
    folders = {name: made / name for name in ("bundle", "shards", "split", "ingest", "clean", "crop", "gates")}
    files = {
        "metrics": made / output / "metrics.json",
        "plots": made / output / "plots",
        "output": made / output / "it",
    }
    options = [text for name, path in (folders | files).items() for text in (f"--{name}", str(path))]
    return CliRunner().invoke(stage.main, options, catch_exceptions=False)


def test_labels_and_answers_stand_side_by_side() -> None:
    levels = [10, 200, 90]
    rows: list[dict[str, Any]] = [
        {
            "image_id": f"{level}",
            "crop": encode_png(np.full((SIDE, SIDE, 3), level, np.uint8)),
            "age": level // 3,
            "gender": None,
            "race": 2,
        }
        for level in levels
    ]
    (table,) = predicting.predictions(rows, CropFormat("png", SIDE), FakePredictor(Path()).predict_crops)
    assert table.schema == PREDICTIONS
    assert table["image_id"].to_pylist() == ["10", "200", "90"]
    assert table["age"].to_pylist() == [3, 66, 30]
    assert table["age_predicted"].to_pylist() == levels
    assert table["gender"].null_count == 3
    for absent in ("group", "age_low", "age_high", "race_probabilities"):
        assert table[absent].null_count == 3


def test_batches_do_not_change_the_answers(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(made, "one").exit_code == 0
    monkeypatch.setattr(predicting, "BATCH", 4)
    assert run(made, "four").exit_code == 0
    assert digest(made / "one") == digest(made / "four")


def test_the_stage_writes_all_its_outputs(made: World) -> None:
    outcome = run(made)
    assert outcome.exit_code == 0
    assert "\nAge error: " in "\n" + outcome.output
    predictions = read_table(made / "judged/it/predictions.parquet")
    test_rows = read_json(made / "shards/manifest.json")["rows"]["test"]
    assert predictions.schema == PREDICTIONS
    assert len(predictions) == test_rows
    split = read_table(made / "split/assignment.parquet").to_pandas().set_index("image_id")
    assert predictions["group"].to_pylist() == split["group"].loc[predictions["image_id"].to_pylist()].tolist()
    summary, metrics = read_json(made / "judged/it/summary.json"), read_json(made / "judged/metrics.json")
    assert summary["rows_in"] == summary["kept"] == metrics["rows"] == test_rows
    assert summary["constants"] == {"age_median": 45.0, "gender_majority": 1, "race_majority": None}
    assert summary["temperatures"] == {"gender": 2.0}
    assert summary["bundle"] == digest(made / "bundle/card.json")
    assert summary["metrics"] == {**metrics, **{name: summary["metrics"][name] for name in ("slices", "crossings")}}
    assert metrics["gender"]["nll"] != metrics["gender"]["uncalibrated"]["nll"]
    assert set(metrics) == {"age", "gender", "baseline", "coverage", "rows"}
    assert {file.stem for file in (made / "judged/plots").iterdir()} == set(PLOTS)


def test_metrics_follow_from_the_predictions_alone(made: World) -> None:
    run(made)
    written = read_json(made / "judged/it/summary.json")["metrics"]
    written.pop("coverage")
    summary = read_json(made / "judged/it/summary.json")
    predictions, constants = read_table(made / "judged/it/predictions.parquet"), Constants(**summary["constants"])
    assert json.loads(json.dumps(evaluate(predictions, constants, summary["temperatures"]))) == written


def test_coverage_counts_rows_before_detection_and_quality(made: World) -> None:
    run(made)
    coverage = read_json(made / "judged/metrics.json")["coverage"]
    assert (coverage["readable"], coverage["cleaned"], coverage["judged"]) == (60, 58, 55)
    assert coverage["share"] == round(55 / 58, 6)


def test_shards_in_tfrecord_alone_will_do(made: World) -> None:
    run(made, "both")
    rows = made.pictures.merge(read_table(made / "split/assignment.parquet").to_pandas(), on="image_id")
    for file in (made / "shards").rglob("*.parquet"):
        file.unlink()
    shard(made, rows, formats=("tfrecord",))
    pass_all(made)
    assert run(made, "tfrecord").exit_code == 0
    assert digest(made / "both/it/predictions.parquet") == digest(made / "tfrecord/it/predictions.parquet")


def test_a_picture_that_the_split_has_not_assigned_is_told(made: World) -> None:
    spoil(made / "split/assignment.parquet", lambda rows: rows[rows["subset"] != "test"])
    pass_all(made)
    outcome = run(made)
    assert outcome.exit_code == SourceError.exit_code
    assert "judged pictures are not in" in outcome.output


@pytest.mark.parametrize("gate", JUDGED)
def test_it_refuses_tables_that_did_not_pass(made: World, gate: str) -> None:
    pass_file(made / "gates", gate).unlink()
    outcome = run(made)
    assert outcome.exit_code == GateError.exit_code
    assert f"gate {gate} has not passed" in outcome.output
    assert not (made / "judged").exists()
