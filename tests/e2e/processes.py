"""Programs that a test starts and kills, what they leave behind, and waiting for what they do."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

SOON = 240.0  # seconds; what takes a few on a machine of its own may take a minute beside other work


def until(look: Callable[[], Any], within: float = SOON) -> Any:
    """What `look` gives as soon as it gives something."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {within} seconds: {look}")


@contextmanager
def running(*command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a session of its own; if it still runs when the block ends, in whatever way, all of it is killed.

    One that a failed test left behind would fail another test, wherever the garbage collector finds it.
    """
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def working_in(folder: Path, text: str = "") -> list[psutil.Process]:
    """The processes whose working folder this is, with `text` in their command lines."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and process.cwd() == str(folder) and text in " ".join(process.cmdline()):
                found.append(process)
    return found
