"""The deployments: prefect.yaml and the code say the same, schedules and collisions included; the command line fits."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from ruamel.yaml import YAML

from pipelines.__main__ import FLOWS, as_command, main
from pipelines.deployments import deployments
from pipelines.promote import REFUSED
from tests.imports import ROOT

YAML_SAYS: list[dict[str, Any]] = YAML(typ="safe").load(ROOT / "prefect.yaml")["deployments"]


def by_file(entry: dict[str, Any]) -> dict[str, Any]:
    path, _, flow = entry["entrypoint"].partition(":")
    assert (ROOT / path).is_file() and hasattr(import_module(path.removesuffix(".py").replace("/", ".")), flow)
    crons = [schedule["cron"] for schedule in entry.get("schedules", [])]
    assert all(schedule["timezone"] == "UTC" for schedule in entry.get("schedules", []))
    limit = entry["concurrency_limit"]
    collision = (limit["limit"], limit["collision_strategy"])
    return {"flow": flow, "crons": crons, "collision": collision, "parameters": entry.get("parameters", {})}


def test_prefect_yaml_says_what_the_code_says(tmp_path: Path) -> None:
    coded = {}
    for made in deployments(tmp_path):
        parameters = dict(made.parameters)
        assert parameters.pop("folder") == str(tmp_path)
        options = made.concurrency_options
        coded[made.flow_name, made.name] = {
            "flow": made.flow_name,
            "crons": [schedule.schedule.cron for schedule in made.schedules or []],
            "collision": (made.concurrency_limit, options.collision_strategy.value if options else None),
            "parameters": parameters,
        }
    assert {(told["flow"], entry["name"]): told for entry in YAML_SAYS for told in [by_file(entry)]} == coded
    assert {flow for flow, _ in coded} == set(FLOWS)


def test_the_nightly_run_and_the_hourly_check_are_scheduled(tmp_path: Path) -> None:
    crons = {f"{d.flow_name}/{d.name}": [s.schedule.cron for s in d.schedules or []] for d in deployments(tmp_path)}
    assert crons["rebuild/nightly"] == ["0 2 * * *"] and crons["check/hourly"] == ["0 * * * *"]


@pytest.mark.parametrize("command", ["ui", "serve", "notify", *FLOWS])
def test_every_command_explains_itself(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")  # asked for help, none is called
    runner = CliRunner()
    assert f"  {command} " in runner.invoke(main, ["--help"]).output
    helped = runner.invoke(main, [command, "--help"])
    assert helped.exit_code == 0 and "Args:" not in helped.output
    if command == "rebuild":
        for option in ("--targets", "--force", "--dataset", "--recipe", "-S, --set", "--parallel", "--ref", "--remote"):
            assert option in helped.output
        assert "[wait|cancel]" in helped.output


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["rebuild", "--parallel", "many"], "'many' is not a valid"),
        (["tune", "--trials", "0"], "0 is not in the range x>=1"),
        (["rebuild", "--retry-delay", "-1"], "-1.0 is not in the range x>=0"),
    ],
)
def test_a_wrong_option_stops_before_any_work(given: list[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    failed = CliRunner().invoke(main, given)
    assert failed.exit_code == 2 and told in failed.output


@pytest.mark.parametrize(
    ("state", "status"), [(Completed(), 0), (Completed(name=REFUSED), 3), (Failed(), 1), (Cancelled(), 1)]
)
def test_a_command_exits_with_what_became_of_its_flow(state: State, status: int) -> None:
    class Flow(SimpleNamespace):
        def __call__(self, **_: Any) -> State:
            return state

    flow: Any = Flow(name="promote", description="", parameters=SimpleNamespace(properties={}))
    assert CliRunner().invoke(as_command(flow), []).exit_code == status
