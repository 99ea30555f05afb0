"""Run a command and its children as one group that ends when whoever asked for it goes away.

    python supervise.py COMMAND ARGUMENT...

Standard input is a lifeline: when it is closed, by will or because the process at its other end was killed, the whole
group gets SIGTERM and, after GRACE seconds, SIGKILL. Exits with the command's own status, or 128 + the signal that
ended it. It is run as a file and imports the standard library alone, so that it starts in no time in any folder.
"""

import os
import signal
import subprocess
import sys
import threading
import time

GRACE = 10.0  # seconds between SIGTERM and SIGKILL


def main() -> int:
    """Start, wait for the command or for the end of the lifeline, and leave no one behind."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_lifeline, args=(child.pid,), daemon=True).start()
    status = child.wait()
    _end(child.pid)
    return status if status >= 0 else 128 - status


def _lifeline(group: int) -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written: this returns when the other end is closed
    _end(group)


def _end(group: int) -> None:
    """End what is left of a process group."""
    if not _signal(group, signal.SIGTERM):
        return
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline:
        if not _signal(group, 0):
            return
        time.sleep(0.05)
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Send a signal to a group; False if none of it is left."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
