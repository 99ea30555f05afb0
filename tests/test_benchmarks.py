"""The benchmarks' own faults: what would be measured wrong is told instead."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import click
import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from benchmarks import crop, detect, flags, flows, pipeline, serve, train
from benchmarks import input as feeding
from benchmarks.measuring import show_growth
from faceline.datasets.records import ShardSettings
from faceline.datasets.tables import PREDICTIONS
from faceline.files import write_table
from faceline.learning.answering import Answers
from tests.imports import ROOT
from tests.toys import network, recipe, write_shards

ANSWERS = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        count[0] += 1
        self.send_response(200 if count[0] <= int(sys.argv[1]) and "FACELINE_API_KEY" not in os.environ else 401)
        self.end_headers()
    def log_message(self, *_):
        pass
count = [0]
HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""


def server(answered: int) -> tuple[str, ...]:
    """A command that answers so many requests with 200, all others with 401, as it does where it has a key."""
    return sys.executable, "-c", ANSWERS, str(answered)


def test_a_server_that_never_answers_with_success_has_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "START", 3.0)
    with pytest.raises(click.ClickException, match="did not start"), serve.started(*server(0)):
        pass


def test_a_server_that_is_measured_has_no_settings_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACELINE_API_KEY", "secret")
    with serve.started(*server(9)) as started:
        rate, latencies = serve.load(started, [b"picture"], 2, most=8)
    assert rate > 0 and len(latencies) == 8
    assert os.environ["FACELINE_API_KEY"] == "secret"


def test_a_request_that_fails_ends_the_measurement() -> None:
    with serve.started(*server(4)) as started, pytest.raises(click.ClickException, match="answered 401"):
        serve.load(started, [b"picture"], 2, most=8)
    with pytest.raises(click.ClickException, match="ConnectionRefusedError"):
        serve.load(started, [b"picture"], 2, most=8)


def test_a_stage_that_is_measured_sees_what_the_recipe_reads(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("{dataset: d, recipe: r, datasets: {d: }, recipes: {r: {start: bundles/b}}}")
    read = ("data/raw/d/a", "data/weights/a", "models/teachers/a", "bundles/b/a", "data/clean/a")
    for name in read:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    script = f"import os; assert all(map(os.path.exists, {read})); assert not os.path.exists('data/split')"
    stage = {"cmd": f'python -c "{script}"', "deps": [{"path": "data/clean"}], "outs": [{"path": "data/split"}]}
    assert pipeline.run(stage, tmp_path).seconds > 0
    made = {"cmd": "python -c \"import os; os.makedirs('data/raw/d')\"", "deps": [], "outs": [{"path": "data/raw/d"}]}
    assert pipeline.run(made, tmp_path).seconds > 0
    assert all((tmp_path / name).exists() for name in read)


@pytest.mark.parametrize(
    ("benchmark", "options", "told"),
    [
        (crop, ("--chips", "2"), "--chips: 2 are not one for each of 5 rounds"),
        (crop, ("--rounds", "301"), "--photos: 300 are not one for each of 301 rounds"),
        (detect, ("--shortest", "700"), "--shortest: 700 is above --longest, 640"),
        (feeding, ("--recipe", "system-b-gender"), "--recipe: system-b-gender does not learn age"),
    ],
)
def test_options_that_cannot_be_measured_are_refused(benchmark: ModuleType, options: Sequence[str], told: str) -> None:
    result = CliRunner().invoke(benchmark.main, options)
    assert result.exit_code == 2 and told in result.stderr


def test_a_network_is_measured_with_its_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = write_shards(tmp_path / "shards", ShardSettings(formats=("tfrecord",), rows=48, seed=1))
    own = recipe(networks=[{**network("age"), "own": {"input_size": 32}}])
    monkeypatch.setattr(train, "read_settings", lambda *_: own)
    timed, shapes = train.epoch, []

    def epoch(model: keras.Model, batches: tf.data.Dataset, steps: int) -> float:
        shapes.append(model.input_shape[1:])
        return timed(model, batches, steps)

    monkeypatch.setattr(train, "epoch", epoch)
    told = CliRunner().invoke(train.main, ["--shards", str(shards), "--rounds", "1"], catch_exceptions=False)
    assert "the input costs" in told.output and set(shapes) == {(32, 32, 3)}


def test_growth_is_told_of_two_sizes_or_more(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [{"rows": rows, "seconds": 1.0, "peak_bytes": 2**20 + 30 * rows} for rows in (100, 300)]
    show_growth(runs, as_json=False)
    assert capsys.readouterr().out.endswith("each further row: 30 bytes\n")
    show_growth(runs[:1], as_json=False)
    assert "each further row" not in capsys.readouterr().out
    show_growth(runs[:1], as_json=True)
    assert json.loads(capsys.readouterr().out)["bytes_per_row"] is None


def test_the_start_of_a_flow_is_no_stage_s() -> None:
    built, again = {"dvc repro": 112.5, "flow": 162.2}, {"dvc repro": 2.3, "flow": 7.8}
    assert flows.more(built, again, stages=19) == (5.5, 2.33)


def test_flags_of_true_and_of_false_statements(tmp_path: Path) -> None:
    """Of 100 women of 30 one looks like a man of 70; everybody else as labelled."""
    rows = [{"image_id": f"{number:064x}", "age": 30, "gender": 1, "race": 0} for number in range(100)]
    female = np.array([0.0001] + [0.9999] * 99, np.float32)
    years = np.array([70] + [30] * 99, np.float32)
    answers = Answers(age=years, age_low=years - 10, age_high=years + 10, female_probability=female)
    write_table(tmp_path / "p.parquet", answers.beside(rows), PREDICTIONS)
    bundle = ROOT / "models/pretrained/utkface"
    run = CliRunner().invoke(
        flags.main, [str(tmp_path / "p.parquet"), "--bundle", str(bundle), "--rate", "0.01", "--json"]
    )
    found = json.loads(run.stdout)
    shares = found["rates"]["0.01"]
    assert found["rows"] == 100
    assert [shares[stated]["all"] for stated in ("both true", "true age", "true gender")] == [0.01] * 3
    assert shares["both true"]["female"] == shares["both true"]["30-39"] == 0.01
    assert shares["both true"]["male"] == shares["both true"]["20-29"] == 0
    assert shares["false"]["other gender, 20+"] == 0.99
    assert (shares["false"]["+30 years"], shares["false"]["-30 years"]) == (0.99, 1.0)
    assert shares["false"]["10-15 years old, stating 18"] == 0
