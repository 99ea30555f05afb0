"""The whole pipeline: all is rebuilt, only what changed runs again, rows are conserved, commits can be compared."""

import itertools
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from faceline.files import digest, read_json, read_table
from tests.e2e.project import Project, checkout

pytestmark = pytest.mark.slow

Copy = Callable[[Project], Project]
TABLES = ("raw/sample", "ingest", "clean", "detect", "crop", "split", "shards")


def ran(output: str) -> list[str]:
    """The stages that a `dvc repro` ran, by what it printed."""
    return re.findall(r"Running stage '(.+?)'", output)


def columns(file: Path, key: str, value: str) -> dict[str, Any]:
    """Two columns of a Parquet table as a dictionary."""
    return dict(zip(*read_table(file, [key, value]).to_pydict().values(), strict=True))


def test_everything_is_made_and_a_second_run_changes_nothing(built: Project, copy_of: Copy) -> None:
    for made in ("models/bundle/card.json", "models/CARD.md", "data/report/index.html", "data/gates/evaluate.pass"):
        assert (built.root / made).is_file(), made
    metrics = read_json(built.root / "models/metrics.json")
    assert {"age", "gender", "race", "baseline", "coverage", "rows"} <= set(metrics)
    assert {"mae", "rmse", "cs5"} <= set(metrics["age"])
    project = copy_of(built)
    again = project.dvc("repro")
    assert ran(again.stdout) == []
    assert "up to date" in again.stdout + again.stderr
    assert project.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.parametrize("stage", ["ingest", "clean", "crop", "split", "evaluate"])
def test_rows_are_conserved(built: Project, stage: str) -> None:
    summary = read_json(built.root / "data" / stage / "summary.json")
    assert summary["rows_in"] == summary["kept"] + sum(summary["rejected"].values()) > 0


def test_what_a_stage_keeps_is_what_the_next_one_gets(built: Project) -> None:
    chain = ["ingest", "clean", "detect", "crop", "split", "shards"]
    summaries = [read_json(built.root / "data" / stage / "summary.json") for stage in chain]
    for before, after in itertools.pairwise(summaries):
        assert before["kept"] == after["rows_in"]


def test_every_fault_of_the_sample_ends_under_its_reason(built: Project) -> None:
    data = built.root / "data"
    truth = pd.read_csv(data / "raw/sample/truth.csv", keep_default_na=False)
    found = {"": {}} | {
        stage: columns(data / stage / "rejected.parquet", "path", "reason") for stage in ("ingest", "clean", "crop")
    }
    everywhere = {path: (stage, reason) for stage, rows in found.items() for path, reason in rows.items()}
    for row in truth.itertuples():
        assert everywhere.get(row.path, ("", "")) == (row.stage, row.reason), row
    assert set(everywhere) <= set(truth["path"]), "an ordinary picture was rejected"


def test_a_cleaning_rule_reruns_from_clean_on(built: Project, copy_of: Copy) -> None:
    project = copy_of(built)
    project.set({"datasets.sample.clean.age.minimum": 12})
    stages = ran(project.dvc("repro", "gate@clean").stdout)
    assert stages == ["settings", "clean", "gate@clean"]


def test_a_threshold_reruns_its_gate_alone(built: Project, copy_of: Copy) -> None:
    project = copy_of(built)
    project.set({"datasets.sample.gates.crop.max_rejected": 0.21})
    assert ran(project.dvc("repro").stdout) == ["settings", "gate@crop", "report"]  # the report shows the threshold


def test_commits_that_differ_in_training_are_compared(built: Project, copy_of: Copy) -> None:
    project = copy_of(built)
    project.set({"recipes.compact.optimizer.learning_rate": 0.0005})
    stages = ran(project.dvc("repro").stdout)
    assert "train" in stages
    assert "evaluate" in stages
    assert not {"ingest", "clean", "detect", "crop", "split", "shard"} & set(stages)
    project.commit("slower learning")
    diff = json.loads(project.dvc("metrics", "diff", "HEAD~1", "--json").stdout)["models/metrics.json"]
    assert diff["age.mae"]["old"] != diff["age.mae"]["new"]
    plots = json.loads(project.dvc("plots", "diff", "HEAD~1", "--json").stdout)
    assert "Loss" in json.dumps(plots)
    assert "models/metrics.json" in project.dvc("metrics", "show").stdout


def test_two_runs_from_scratch_give_the_same_bytes(built: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = checkout(tmp_path_factory.mktemp("again"))
    other.dvc("repro", "gate@shard")
    for table in TABLES:
        assert digest(other.root / "data" / table) == digest(built.root / "data" / table), table


def test_raw_pictures_through_the_predictor_are_their_shards_pixels(built: Project) -> None:
    from faceline.datasets.crops import CropFormat
    from faceline.datasets.records import read_manifest, read_rows
    from faceline.learning.bundle import Predictor

    raw: dict[str, bytes] = {}
    for part in sorted((built.root / "data/ingest/images").glob("*.parquet")):
        raw |= columns(part, "image_id", "bytes")
    rows = [row for subset in ("test", "val", "train") for row in read_rows(built.root / "data/shards", subset)][:50]
    assert len(rows) == 50
    crops = CropFormat.of(read_manifest(built.root / "data/shards"))
    answers = Predictor(built.root / "models/bundle").predict([raw[row["image_id"]] for row in rows])
    for row, faces in zip(rows, answers, strict=True):
        assert len(faces) == 1
        assert (faces[0].crop == crops.unpack(row["crop"])).all()


def test_judging_the_archive_itself_gives_the_answers_of_the_pipeline(built: Project, tmp_path: Path) -> None:
    kept = tmp_path / "predictions.parquet"
    program = "from faceline.cli import main; main()"
    archive = "data/raw/sample/wiki_crop.tar"
    arguments = ["evaluate", "models/bundle", archive, "--predictions", str(kept), "--json"]
    metrics = json.loads(built.run(sys.executable, "-c", program, *arguments).stdout)
    ingest = read_json(built.root / "data/ingest/summary.json")
    assert metrics["rows_in"] == ingest["rows_in"] and metrics["coverage"]["readable"] == ingest["kept"]
    assert {"age", "gender", "baseline", "coverage", "rows"} < metrics.keys()
    found, wanted = kept, built.root / "data/evaluate/predictions.parquet"
    for answer in ("age_predicted", "age_low", "age_high", "female_probability"):
        here, there = columns(found, "image_id", answer), columns(wanted, "image_id", answer)
        assert there and {image_id: here[image_id] for image_id in there} == pytest.approx(there, abs=1e-3)
