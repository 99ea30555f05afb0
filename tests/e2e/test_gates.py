"""Every gate stops the pipeline on a broken table, holds everything downstream, and lets it pass once mended."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from faceline.files import read_json, read_table, write_table
from tests.e2e.project import Project

pytestmark = pytest.mark.slow


def edit(file: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change a Parquet table through pandas; its schema stays."""
    table = read_table(file)
    frame = change(table.to_pandas(types_mapper=pd.ArrowDtype))
    write_table(file, pa.Table.from_pandas(frame, table.schema, preserve_index=False), table.schema)


def break_ingest(data: Path) -> None:
    edit(data / "ingest/labels.parquet", lambda rows: rows.assign(gender=rows["gender"].where(rows.index > 0, 7)))


def break_clean(data: Path) -> None:
    edit(data / "clean/kept.parquet", lambda rows: rows.assign(age=rows["age"].where(rows.index > 0, 150)))


def break_detect(data: Path) -> None:
    edit(data / "detect/faces.parquet", lambda rows: rows.iloc[1:])


def break_crop(data: Path) -> None:
    edit(data / "crop/faces/part-00000.parquet", lambda rows: rows.assign(image_id=rows["image_id"].iloc[0]))


def break_split(data: Path) -> None:
    def leak(rows: pd.DataFrame) -> pd.DataFrame:
        twins = rows[rows.duplicated("group", keep="first")]
        other = {"train": "test", "test": "train", "val": "train"}[twins["subset"].iloc[0]]
        return rows.assign(subset=rows["subset"].where(rows.index != twins.index[0], other))

    edit(data / "split/assignment.parquet", leak)


def break_shard(data: Path) -> None:
    file = next((data / "shards/train").glob("*.parquet"))
    edit(file, lambda rows: rows.assign(age=rows["age"].iloc[::-1].to_numpy()))


def break_train(data: Path) -> None:
    file = next((data.parent / "models/bundle").glob("*.keras"))
    file.write_bytes(file.read_bytes()[:-100])


def break_evaluate(data: Path) -> None:
    edit(data / "evaluate/predictions.parquet", lambda rows: rows.assign(age_predicted=rows["age_predicted"] + 900))


CASES = {  # gate: (how to break its table, the stage that made it, the next stage, what the message names)
    "ingest": (break_ingest, "ingest", "clean", "gender"),
    "clean": (break_clean, "clean", "detect", "age"),
    "detect": (break_detect, "detect", "crop", "image_id"),
    "crop": (break_crop, "crop", "split", "image_id"),
    "split": (break_split, "split", "shard", "group"),
    "shard": (break_shard, "shard", "train", "sha256"),
    "train": (break_train, "train", "evaluate", "bundle"),
    "evaluate": (break_evaluate, "evaluate", None, "age_predicted"),
}


@pytest.mark.parametrize("gate", CASES)
def test_a_gate_stops_a_broken_table_and_passes_a_mended_one(
    built: Project, copy_of: Callable[[Project], Project], gate: str
) -> None:
    spoil, stage, following, named = CASES[gate]
    project = copy_of(built)
    data = project.root / "data"
    for file in [*data.rglob("*"), *(project.root / "models/bundle").glob("*")]:
        file.chmod(file.stat().st_mode | 0o200)
    spoil(data)
    project.dvc("commit", "--force", stage)  # as if the stage had made it so

    stopped = project.dvc("repro", f"gate@{gate}", check=False)
    assert stopped.returncode
    assert f"gate {gate} failed" in stopped.stdout + stopped.stderr
    report = read_json(data / "gates" / f"{gate}.json")
    failed = [item for item in report["expectations"] if not item["success"]]
    assert report["success"] is False
    assert named in json.dumps(failed)
    if gate not in ("train", "evaluate"):
        assert any(item["examples"] for item in failed)
    assert not (data / "gates" / f"{gate}.pass").exists()

    if following:
        project.run("python", "-m", "dvc", "checkout", "--force", check=False)  # brings an older pass back
        refused = project.dvc("repro", "--single-item", "--force", following, check=False)
        assert refused.returncode
        assert f"gate {gate} " in refused.stdout + refused.stderr

    project.run("git", "checkout", "--force", "HEAD", "--", "dvc.lock", f"data/gates/{gate}.json")
    project.dvc("checkout", "--force")
    assert project.dvc("repro", f"gate@{gate}").returncode == 0
    assert (data / "gates" / f"{gate}.pass").exists()
