"""A real Prefect server, with deployments started by hand, by schedule and by a check; cancelled, killed, colliding."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.e2e.processes import SOON, running, until, working_in
from tests.e2e.project import Project, environment
from tests.e2e.served import Served, served
from tests.toy_pipeline import toy_pipeline

pytestmark = pytest.mark.slow
REBUILD = (sys.executable, "-m", "pipelines", "rebuild", "--folder")


@pytest.fixture(scope="module")
def sample(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The shrunken sample, built; the server runs in it."""
    return built.copy(tmp_path_factory.mktemp("served") / "project")


@pytest.fixture(scope="module")
def server(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(sample.root, tmp_path_factory.mktemp("home")) as running:
        yield running
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(running.home) in " ".join(p.info["cmdline"] or [])]


@pytest.fixture(scope="module", autouse=True)
def killed(server: Served, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run killed -9 with all that it ran, as by a power cut; the others need not wait until that is noticed."""
    toy = toy_pipeline(tmp_path_factory.mktemp("killed") / "toy")
    (toy.root / "raw/hang").touch()
    with running(*REBUILD, str(toy.root), env=client(server), stdout=subprocess.DEVNULL):
        hanging(toy)
        (run,) = server.ask("flow_runs/filter", flow_runs={"state": {"type": {"any_": ["RUNNING"]}}})
        until(lambda: server.ask("events/filter", filter={"event": {"name": ["prefect.flow-run.heartbeat"]},
              "resource": {"id": [f"prefect.flow-run.{run['id']}"]}})["events"])  # fmt: skip
    until(lambda: not working_in(toy.root))
    return str(run["id"])


@pytest.fixture
def toy(tmp_path: Path) -> Project:
    return toy_pipeline(tmp_path / "toy")


def client(server: Served) -> dict[str, str]:
    """The environment of a program that uses the server."""
    return {**environment(), "PREFECT_API_URL": server.api, "PREFECT_HOME": str(server.home)}


def hanging(toy: Project) -> int:
    """The process that the stage `left` has begun and waits for."""
    path = toy.root / "raw/children"
    return int(until(lambda: path.exists() and path.read_text()))


def test_it_listens_on_this_machine_alone_and_tells_nobody(server: Served) -> None:
    ports = {int(url.rsplit(":", 1)[1].split("/")[0]) for url in (server.api, server.reports)}
    open_at = {c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port in ports}
    assert open_at == {"127.0.0.1"}
    assert server.ask("admin/settings")["server"]["analytics_enabled"] is False
    names = {automation["name"] for automation in server.ask("automations/filter", limit=50)}
    assert names == {"faceline: runs without a heartbeat"}


def test_a_deployment_by_hand_on_the_sample(server: Served, sample: Project) -> None:
    sample.set({"recipes.compact.epochs": 3})
    run = server.run("rebuild/workspace")
    assert run["state_name"] == "Completed", run["state"]["message"]
    states = server.tasks(run["id"])
    assert states["ingest"] == states["detect"] == states["gate@clean"] == states["shard"] == "Cached"
    assert states["train"] == states["gate@train"] == states["evaluate"] == states["report"] == "Completed"
    assert "compact-age-gender-race: epoch 3/3" in server.logs(run["id"])
    found = server.artifacts(run["id"])
    gates = {"ingest", "clean", "detect", "crop", "split", "shard", "train", "evaluate"}
    assert {f"gate-{gate}" for gate in gates} | {"metrics-sample", "summary", "report", "progress"} == found.keys()
    assert "gender_unknown" in found["summary"] and found["progress"] == 100
    assert any(row["metric"] == "age.mae" for row in json.loads(found["metrics-sample"]))
    page = httpx.get(f"{server.reports}/workspace/index.html")
    assert page.is_success and f"{server.reports}/workspace/index.html" in found["report"]
    again = server.run("rebuild/workspace")
    assert again["state_name"] == "Cached" and set(server.tasks(again["id"]).values()) == {"Cached"}


def test_a_failed_gate_ends_the_run_and_names_expectation_and_rows(server: Served, sample: Project) -> None:
    sample.set({"datasets.sample.gates.clean.age.maximum": 60})
    run = server.run("rebuild/workspace")
    sample.set({"datasets.sample.gates.clean.age.maximum": 99})
    assert run["state_name"] == "Failed"
    message = run["state"]["message"]
    assert message.startswith("gate@clean: 1 of") and "expect_column_values_to_be_between" in message
    assert "(kept.parquet: age), as in age " in message and "path" in message
    states = server.tasks(run["id"])
    assert states["gate@clean"] == "Failed" and states["detect"] == states["report"] == "NotReady"
    assert json.loads(server.artifacts(run["id"])["gate-clean"])[0]["verdict"] == "NOT MET"
    assert server.run("rebuild/workspace")["state_type"] == "COMPLETED"


def test_a_schedule_rebuilds_a_clone_and_leaves_a_commit(server: Served, toy: Project) -> None:
    found = server.ask("deployments/name/rebuild/nightly")
    assert [schedule["schedule"]["cron"] for schedule in found["schedules"]] == ["0 2 * * *"]
    every_minute = {"cron": "* * * * *", "timezone": "UTC"}
    parameters = {**found["parameters"], "folder": str(toy.root), "ref": "main"}
    schedules = [{"active": True, "schedule": every_minute, "parameters": parameters}]
    server.send("POST", f"deployments/{found['id']}/schedules", schedules)
    of_it = {"deployments": {"id": {"any_": [found["id"]]}}, "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    run = until(lambda: server.ask("flow_runs/filter", **of_it), within=600)[0]
    for schedule in server.ask(f"deployments/{found['id']}")["schedules"]:
        if schedule["schedule"]["cron"] == "* * * * *":
            server.send("DELETE", f"deployments/{found['id']}/schedules/{schedule['id']}")
    assert run["auto_scheduled"] and run["created_by"]["type"] == "SCHEDULE"
    assert set(server.tasks(run["id"]).values()) == {"Completed"}
    log = toy.run("git", "log", "--format=%s", "nightly").stdout.splitlines()
    assert log == [f"Run {run['name']}: main rebuilt", "start"]
    assert "data/prepare" in toy.run("git", "show", "nightly:dvc.lock").stdout
    assert not (toy.root / "dvc.lock").exists()


def test_the_check_starts_a_rebuild_only_when_something_changed(server: Served, toy: Project) -> None:
    def look() -> tuple[str, str]:
        run = server.run("check/hourly", folder=str(toy.root), deployment="check/hourly-target", ref="main")
        return run["state_name"], run["state"]["message"]

    # What it starts is shown by a deployment that does nothing but be there.
    target = server.ask("deployments/name/check/hourly")
    made = {"flow_id": target["flow_id"], "name": "hourly-target", "entrypoint": target["entrypoint"], "paused": True}
    server.send("POST", "deployments/", made)
    assert look()[0] == "Completed"
    assert look() == ("Unchanged", "no new data, commit or remote state")
    (toy.root / "raw/rows").write_text("one two three four")
    state, message = look()
    assert state == "Completed" and message.startswith("changed: raw data; started ")
    assert look()[0] == "Unchanged"
    toy.set({"n": 6})
    toy.commit("another n")
    assert look()[1].startswith("changed: commit; started ")
    assert look()[0] == "Unchanged"


def test_cancelling_ends_dvc_and_its_children_and_the_next_run_goes_on(server: Served, toy: Project) -> None:
    (toy.root / "raw/hang").touch()
    run = server.start("rebuild/workspace", folder=str(toy.root))
    child = hanging(toy)
    server.ask(f"flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
    assert server.ended(run)["state_type"] == "CANCELLED"
    until(lambda: not psutil.pid_exists(child) and not working_in(toy.root))
    assert server.tasks(run)["prepare"] == "Completed"
    (toy.root / "raw/hang").unlink()
    after = server.run("rebuild/workspace", folder=str(toy.root))
    assert after["state_name"] == "Completed"
    assert server.tasks(after["id"])["prepare"] == "Cached"


def test_sigterm_ends_a_run_without_a_server_of_its_own(server: Served, toy: Project) -> None:
    (toy.root / "raw/hang").touch()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with running(*REBUILD, str(toy.root), env=client(server), **quiet) as flow:
        child = hanging(toy)
        flow.terminate()
        assert flow.wait(SOON) != 0
    until(lambda: not psutil.pid_exists(child) and not working_in(toy.root))


def test_a_second_run_is_cancelled_or_waits_as_configured(server: Served, toy: Project) -> None:
    (toy.root / "raw/hang").touch()
    here = {"folder": str(toy.root), "ref": None, "branch": None}
    first = server.start("rebuild/nightly", **here)
    child = hanging(toy)
    second = server.run("rebuild/nightly", **here)
    assert second["state_name"] == "Cancelled"
    assert server.ask(f"flow_runs/{first}")["state_type"] == "RUNNING"
    (toy.root / "raw/hang").unlink()
    os.kill(child, signal.SIGKILL)  # the stage goes on
    assert server.ended(first)["state_type"] == "COMPLETED"

    (toy.root / "raw/children").unlink()
    (toy.root / "raw/hang").touch()
    toy.set({"left": 2})
    first = server.start("rebuild/workspace", folder=str(toy.root))
    child = hanging(toy)
    second = server.start("rebuild/workspace", folder=str(toy.root))
    waiting = until(lambda: (r := server.ask(f"flow_runs/{second}"))["state_name"] == "AwaitingConcurrencySlot" and r)
    assert waiting["state_type"] == "SCHEDULED"
    (toy.root / "raw/hang").unlink()
    os.kill(child, signal.SIGKILL)
    assert server.ended(first)["state_type"] == "COMPLETED"
    assert server.ended(second)["state_name"] == "Cached"


@contextmanager
def hook(heard: list[dict[str, Any]]) -> Iterator[str]:
    """The URL of a webhook on this machine that notes what it is told."""

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Hook) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}/hook"
        finally:
            listening.shutdown()


def test_a_webhook_hears_of_failures(server: Served, toy: Project) -> None:
    heard: list[dict[str, Any]] = []
    with hook(heard) as url:
        command = [sys.executable, "-m", "pipelines", "notify", url]
        subprocess.run(command, env=client(server), check=True, capture_output=True)
        (toy.root / "raw/rows").write_text('one bad "quoted"')
        failed = server.run("rebuild/workspace", folder=str(toy.root))
        (message,) = until(lambda: [h for h in heard if h["run"] == failed["name"]])
        assert message["state"] == "Failed" and message["flow"] == "rebuild"
        assert message["message"] == failed["state"]["message"]
        assert message["link"] == f"{server.api.removesuffix('/api')}/runs/flow-run/{failed['id']}"

        (toy.root / "raw/rows").write_text("one two")
        (toy.root / "raw/hang").touch()
        run = server.start("rebuild/workspace", folder=str(toy.root))
        hanging(toy)
        next(p for p in psutil.Process(server.process.pid).children(recursive=True) if _runs(p, run)).kill()
        until(lambda: not working_in(toy.root))
        crashed = server.ended(run)
        assert crashed["state_type"] == "CRASHED"  # the runner sees that its process is gone
        # By name: the run of the fixture `killed` may be found to have crashed at any time.
        (message,) = until(lambda: [h for h in heard if h["run"] == crashed["name"]])
        assert message["state"] == "Crashed"


def test_a_run_that_nobody_watches_is_marked_crashed_by_its_missing_heartbeat(server: Served, killed: str) -> None:
    crashed = server.ended(killed)
    assert crashed["state_type"] == "CRASHED"
    assert crashed["state"]["message"] == "no heartbeat for 90 seconds"


def _runs(process: psutil.Process, run: str) -> bool:
    try:
        return run in process.environ().get("PREFECT__FLOW_RUN_ID", "")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
