"""Programs of a flow: their lines, their status, and none of them left when the flow ends or is killed."""

import sys
import threading
from pathlib import Path

import pytest

from pipelines.children import Children, StoppedError
from tests.e2e.processes import SOON, running, until

SLEEPER = "import subprocess, sys; c = subprocess.Popen(['sleep', '600']); print(c.pid, flush=True); c.wait()"


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet fetched by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int) -> bool:
    """Waits until it is, and fails where it stays."""
    return bool(until(lambda: not alive(pid)))


def test_lines_and_status_are_told(tmp_path: Path) -> None:
    lines: list[str] = []
    script = "import sys; print('one'); print('\\n20%'); sys.stderr.write('three\\n'); sys.exit(3)"
    assert Children().run([sys.executable, "-c", script], tmp_path, lines.append) == 3
    assert sorted(lines) == ["20%", "one", "three"]


def test_a_program_works_in_the_folder_with_this_python_first(tmp_path: Path) -> None:
    lines: list[str] = []
    Children().run(["python", "-c", "import os, sys; print(os.getcwd(), sys.prefix)"], tmp_path, lines.append)
    assert lines == [f"{tmp_path} {sys.prefix}"]


def test_stop_ends_programs_and_their_children(tmp_path: Path) -> None:
    children, lines = Children(), []
    caught: list[BaseException] = []

    def work() -> None:
        try:
            children.run([sys.executable, "-c", SLEEPER], tmp_path, lines.append)
        except StoppedError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: lines)
    children.stop()
    thread.join(SOON)
    assert gone(int(lines[0]))
    assert caught
    with pytest.raises(StoppedError):
        children.run(["true"], tmp_path, print)


def test_what_the_listener_raises_ends_the_program(tmp_path: Path) -> None:
    seen: list[int] = []

    def listen(line: str) -> None:
        seen.append(int(line))
        raise KeyError("enough")

    children = Children()
    with pytest.raises(KeyError, match="enough"):
        children.run([sys.executable, "-c", SLEEPER], tmp_path, listen)
    assert gone(seen[0])
    assert children.run(["true"], tmp_path, print) == 0


def test_a_killed_flow_leaves_no_program(tmp_path: Path) -> None:
    """kill -9 cannot be handled; what the flow ran notices that it is gone."""
    script = "\n".join([
        "import sys; from pathlib import Path; from pipelines.children import Children",
        f"Children().run([sys.executable, '-c', {SLEEPER!r}], Path('.'), lambda line: print(line, flush=True))",
    ])  # fmt: skip
    said = tmp_path / "said"
    with said.open("w") as file, running(sys.executable, "-c", script, stdout=file):
        until(lambda: said.read_text().endswith("\n"))
    assert gone(int(said.read_text()))


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time, os; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(600)"
    )
    lines: list[str] = []

    def listen(line: str) -> None:
        lines.append(line)
        raise KeyError

    with pytest.raises(KeyError):
        Children().run([sys.executable, "-c", stubborn], tmp_path, listen)
    assert gone(int(lines[0]))
