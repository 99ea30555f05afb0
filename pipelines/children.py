"""Programs that a flow runs: their output line by line, and all of them ended with the flow."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SUPERVISOR = Path(__file__).with_name("supervise.py")
Say = Callable[[str], None]


class StoppedError(Exception):
    """The flow is being ended, and so are its programs."""


class Children:
    """The programs that are running for one flow; any thread may start one, `stop` ends them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(self, command: Sequence[str], folder: Path, say: Say) -> int:
        """Run a command in a folder, telling each line of its output as it comes; its exit status.

        What `say` raises ends the program and goes on to the caller.

        Raises:
            StoppedError: the flow was being ended before or while it ran.
        """
        with self._started(command, folder) as process:
            for line in process.stdout or ():
                if told := line.rstrip():
                    say(told)
            status = process.wait()
        if self._stopped:
            raise StoppedError(f"{command[0]} was ended")
        return status

    def stop(self) -> None:
        """End every program and its children, and wait until they are gone; nothing starts afterwards."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            self._cut(process)
        for process in running:
            process.wait()

    @contextmanager
    def _started(self, command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
        with self._lock:
            if self._stopped:
                raise StoppedError(f"{command[0]} was not started")
            process = subprocess.Popen(
                [sys.executable, "-I", str(SUPERVISOR), *command],
                cwd=folder, env=environment(), text=True, errors="replace", bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the flow alone, which then ends the rest in order
            )  # fmt: skip
            self._running.add(process)
        try:
            yield process
        finally:
            self._cut(process)
            process.wait()
            with self._lock:
                self._running.discard(process)
            if process.stdout is not None:
                process.stdout.close()

    @staticmethod
    def _cut(process: subprocess.Popen[str]) -> None:
        """Close the lifeline."""
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()


def environment() -> dict[str, str]:
    """The environment of programs: this Python first in PATH, since stages say `python`; no buffers, no telemetry."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    quiet = {"PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1", "GX_ANALYTICS_ENABLED": "false"}
    return {**os.environ, **quiet, "PATH": path}
