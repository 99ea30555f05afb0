"""`python -m pipelines ui` in a project, with a home of its own on free ports, and its API as the UI asks it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.project import environment

SOON = 90.0  # seconds


@dataclass(frozen=True)
class Served:
    """A server with the project's deployments."""

    process: subprocess.Popen[bytes]
    api: str
    reports: str
    home: Path

    def ask(self, path: str, **body: Any) -> Any:
        """What the API answers to a POST, or to a GET where there is no body."""
        url = f"{self.api}/{path}"
        answer = httpx.post(url, json=body, timeout=30) if body else httpx.get(url, timeout=30)
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

    def ended(self, run: str, within: float = 300) -> dict[str, Any]:
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


def until(look: Callable[[], Any], within: float = SOON) -> Any:
    """What `look` gives as soon as it gives something."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.5)
    raise AssertionError(f"not within {within} seconds: {look}")


@contextmanager
def served(folder: Path, home: Path) -> Iterator[Served]:
    """Start the server and the deployments of the project in `folder`; all is ended with the block."""
    port, reports = free_port(), free_port()
    command = [sys.executable, "-m", "pipelines", "ui", "--port", str(port), "--reports-port", str(reports)]
    env = {**environment(), "PREFECT_HOME": str(home), "PREFECT_RUNNER_POLL_FREQUENCY": "2"}
    env.pop("PREFECT_API_URL", None)
    home.mkdir(parents=True, exist_ok=True)
    with (home / "ui.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)
    server = Served(process, f"http://127.0.0.1:{port}/api", f"http://127.0.0.1:{reports}", home)
    try:
        until(lambda: _ready(server), within=180)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        print((home / "ui.log").read_text(encoding="utf-8", errors="replace")[-20_000:])


def _ready(server: Served) -> bool:
    if server.process.poll() is not None:
        raise AssertionError((server.home / "ui.log").read_text(encoding="utf-8", errors="replace"))
    try:
        server.ask("deployments/name/promote/workspace")
    except (httpx.HTTPError, AssertionError):
        return False
    return True


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
