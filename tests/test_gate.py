"""The gate stage: its report, its pass, its message, and who is refused without it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from faceline.errors import GateError
from faceline.files import read_json
from faceline.gates.expectations import NAMES
from faceline.gates.passes import require_pass
from stages.gate import load, main
from tests.builders import World, spoil, world
from tests.judging import LIMITS, PLACES


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world(tmp_path_factory.mktemp("good"))


@pytest.fixture
def made(good: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    copied = good.copy(tmp_path / "world")
    params: dict[str, Any] = {"dataset": "sample", "recipe": "compact"}
    params |= {"datasets": {"sample": {"gates": LIMITS}}, "recipes": {"compact": {}}}
    YAML().dump(params, tmp_path / "world/params.yaml")
    monkeypatch.chdir(tmp_path / "world")
    return copied


def gate(name: str, *more: str) -> Result:
    table, beside = PLACES[name]
    return CliRunner().invoke(main, [name, "--table", table, "--beside", beside, "--output", "gates", *more])


def spoil_ages(made: World) -> None:
    def change(frame: Any) -> None:
        frame.loc[frame["image_id"] == made.image_id(10), "age"] = 100

    spoil(made / "clean/kept.parquet", change)


def test_a_good_table_gets_a_report_and_a_pass(made: World) -> None:
    result = gate("clean")
    assert result.exit_code == 0, result.output
    report = read_json(made / "gates/clean.json")
    assert report["success"]
    assert report["expectations_met"] == report["expectations_total"] == len(report["expectations"])
    assert report["rows"] == 58
    require_pass(made / "gates", "clean", made / "clean")


def test_a_bad_table_gets_a_report_and_no_pass(made: World) -> None:
    assert gate("clean").exit_code == 0
    spoil_ages(made)
    result = gate("clean")
    assert result.exit_code == 3
    assert "gate clean failed: 2 of" in result.output
    assert "kept.parquet: age: expected values to be between, min_value 9.0, max_value 99.0" in result.output
    assert made.path(10) in result.output
    assert not (made / "gates/clean.pass").exists()
    report = read_json(made / "gates/clean.json")
    assert not report["success"]
    failed = [each for each in report["expectations"] if not each["success"]]
    assert failed[0]["examples"] == [{"age": 100, "path": made.path(10)}]
    assert failed[0]["share"] == pytest.approx(1 / 58, abs=1e-6)
    with pytest.raises(GateError, match="has not passed"):
        require_pass(made / "gates", "clean", made / "clean")


def test_a_mended_table_passes_again(made: World) -> None:
    before = (made / "clean/kept.parquet").read_bytes()
    spoil_ages(made)
    assert gate("clean").exit_code == 3
    (made / "clean/kept.parquet").write_bytes(before)
    assert gate("clean").exit_code == 0


def test_a_stale_pass_is_refused(made: World) -> None:
    assert gate("clean").exit_code == 0
    spoil_ages(made)
    with pytest.raises(GateError, match="passed other tables"):
        require_pass(made / "gates", "clean", made / "clean")


def test_at_most_twenty_rows_are_named(made: World) -> None:
    spoil(made / "clean/kept.parquet", lambda frame: frame.assign(age=100))
    assert gate("clean").exit_code == 3
    report = read_json(made / "gates/clean.json")
    assert max(len(each["examples"]) for each in report["expectations"]) == 20


@pytest.mark.parametrize("bad", [False, True])
def test_two_runs_write_the_same_bytes_of_strict_json(made: World, bad: bool) -> None:
    if bad:
        spoil(made / "crop/faces/part-00000.parquet", lambda frame: frame.assign(sharpness=float("nan")))
        spoil(made / "crop/faces/part-00001.parquet", lambda frame: frame.assign(sharpness=float("inf")))
    assert gate("crop").exit_code == (3 if bad else 0)
    first = (made / "gates/crop.json").read_bytes()
    assert gate("crop").exit_code == (3 if bad else 0)
    assert (made / "gates/crop.json").read_bytes() == first
    json.loads(first, parse_constant=lambda name: pytest.fail(f"{name} is no number"))


def test_the_split_gate_remembers_what_it_accepted(made: World) -> None:
    assert gate("split", "--store", "store").exit_code == 0
    assert [path.name[:7] for path in (made / "store/split").iterdir()] == ["sample-"]


def test_every_gate_has_thresholds_and_a_suite() -> None:
    assert set(LIMITS) == set(NAMES)
    for name in NAMES:
        assert load(name).limits.__name__ == "Limits"


def test_an_unknown_gate_or_threshold_stops_at_once(made: World) -> None:
    result = CliRunner().invoke(main, ["nothing", "--table", "clean", "--beside", "ingest", "--output", "gates"])
    assert result.exit_code == 2
    assert "'ingest', 'clean'" in result.output
    params = YAML().load(made / "params.yaml")
    params["datasets"]["sample"]["gates"]["clean"]["max_rejcted"] = 0.1
    YAML().dump(params, made / "params.yaml")
    result = gate("clean")
    assert result.exit_code == 2
    assert "datasets.sample.gates.clean.max_rejcted is not a setting" in result.output
