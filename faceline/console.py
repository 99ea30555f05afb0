"""What people see while programs run: progress and messages on stderr, so that stdout stays for programs."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

NOT_FOR_KERAS = ("matplotlib", "sklearn")
LINE_EVERY = 10.0  # seconds between lines of progress where there is no terminal


def stderr() -> Console:
    """A console on stderr; wide enough for one line a message where it is no terminal."""
    return Console(stderr=True, soft_wrap=True)


def printable(path: Path) -> str:
    """A path as UTF-8 can say it, whatever bytes its name is made of."""
    return os.fsencode(path).decode("utf-8", "replace")


@contextmanager
def counting(what: str) -> Iterator[Callable[[], None]]:
    """Yield what to call after each row: a live line on a terminal, else a plain line on stderr now and then."""
    console = stderr()
    columns = (SpinnerColumn(), TextColumn(f"{what}: {{task.completed}} rows"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        rows, last = 0, time.monotonic()

        def tick() -> None:
            nonlocal rows, last
            rows += 1
            bar.update(task, completed=rows)
            if not console.is_terminal and time.monotonic() - last >= LINE_EVERY:
                last = time.monotonic()
                console.print(f"{what}: {rows} rows")

        yield tick


def load_tensorflow() -> None:
    """Import TensorFlow without its banner, and without what Keras imports for its own wrappers and galleries.

    Its C++ prints that banner on the file descriptor of stderr before any level of logging is in force, and later
    prints that there is no GPU as an error. What really fails is raised as an exception all the same.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    hidden = [name for name in NOT_FOR_KERAS if name not in sys.modules]
    # As if they were not installed, which Keras allows for: a third of the time is theirs.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import tensorflow  # noqa: F401
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        for name in hidden:
            sys.modules.pop(name)
