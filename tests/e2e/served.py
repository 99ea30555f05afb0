"""`python -m pipelines ui` in a project, with a home of its own on free ports, and its API as the UI asks it."""

import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.processes import SOON, running, until
from tests.e2e.project import environment

PATIENCE = 120.0  # seconds for one answer


@dataclass(frozen=True)
class Served:
    """A server with the project's deployments."""

    process: subprocess.Popen[bytes]
    api: str
    reports: str
    home: Path

    def ask(self, path: str, **body: Any) -> Any:
        """What the API answers to a POST, or to a GET where there is no body."""
        return self.send("POST" if body else "GET", path, body)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """What the API answers; asked again, as Prefect's clients do, while its SQLite is locked by another writer."""

        def answered() -> httpx.Response | None:
            found = httpx.request(method, f"{self.api}/{path}", json=body or None, timeout=PATIENCE)
            return None if found.status_code == httpx.codes.SERVICE_UNAVAILABLE else found

        answer = until(answered)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def start(self, name: str, /, **parameters: Any) -> str:
        """Start a run of a deployment by hand; its id."""
        found = self.ask(f"deployments/name/{name}")
        run = self.ask(f"deployments/{found['id']}/create_flow_run", parameters={**found["parameters"], **parameters})
        return str(run["id"])

    def run(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        """Start a run by hand and wait for its end; the flow run."""
        return self.ended(self.start(name, **parameters))

    def ended(self, run: str, within: float = 600) -> dict[str, Any]:
        """A flow run when it has ended."""

        def look() -> Any:
            found = self.ask(f"flow_runs/{run}")
            return found if found["state_type"] in ("COMPLETED", "FAILED", "CANCELLED", "CRASHED") else None

        found: dict[str, Any] = until(look, within)
        return found

    def tasks(self, run: str) -> dict[str, str]:
        """The names of a run's tasks, with those of their states."""
        found = self.ask("task_runs/filter", flow_runs={"id": {"any_": [run]}}, limit=100)
        return {task["name"]: task["state_name"] for task in found}

    def logs(self, run: str) -> str:
        """What a run logged."""
        found = self.ask("logs/filter", logs={"flow_run_id": {"any_": [run]}}, sort="TIMESTAMP_ASC", limit=200)
        return "\n".join(line["message"] for line in found)

    def artifacts(self, run: str) -> dict[str, Any]:
        """The data of a run's artifacts by key."""
        found = self.ask("artifacts/filter", flow_runs={"id": {"any_": [run]}}, limit=100, sort="CREATED_DESC")
        return {artifact["key"]: artifact["data"] for artifact in reversed(found)}


@contextmanager
def served(folder: Path, home: Path) -> Iterator[Served]:
    """Start the server and the deployments of the project in `folder`, its schedules off; both end with the block."""
    port, reports = free_port(), free_port()
    command = [sys.executable, "-m", "pipelines", "ui", "--port", str(port), "--reports-port", str(reports)]
    env = {**environment(), "PREFECT_HOME": str(home), "PREFECT_RUNNER_POLL_FREQUENCY": "2"}
    env.pop("PREFECT_API_URL", None)
    home.mkdir(parents=True, exist_ok=True)
    log = home / "ui.log"
    with log.open("wb") as file, running(*command, cwd=folder, env=env, stdout=file, stderr=file) as process:
        server = Served(process, f"http://127.0.0.1:{port}/api", f"http://127.0.0.1:{reports}", home)
        try:
            until(lambda: _ready(server))
            _pause(server)
            yield server
        finally:  # ended by itself, also when a test failed: killed, it would leave the server that it started
            process.terminate()
            process.wait(SOON)
            print(log.read_text(encoding="utf-8", errors="replace")[-20_000:])


def _ready(server: Served) -> bool:
    if server.process.poll() is not None:
        raise AssertionError((server.home / "ui.log").read_text(encoding="utf-8", errors="replace"))
    try:
        server.ask("deployments/name/promote/workspace")
    except (httpx.HTTPError, AssertionError):
        return False
    return True


def _pause(server: Served) -> None:
    """Switch the schedules off: a run at the full hour would come between those of the tests."""
    for deployment in server.ask("deployments/filter", limit=50):
        for schedule in deployment["schedules"]:
            server.send("PATCH", f"deployments/{deployment['id']}/schedules/{schedule['id']}", {"active": False})


def free_port() -> int:
    """A port of this machine that nothing listens on, below those that connections get before a server takes it."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port from 20,000 to 30,000")
