"""What people see while programs run: progress and messages on stderr, so that stdout stays for programs."""

import os
from pathlib import Path

from rich.console import Console


def stderr() -> Console:
    """A console on stderr; wide enough for one line a message where it is no terminal."""
    return Console(stderr=True, soft_wrap=True)


def load_tensorflow() -> None:
    """Import TensorFlow without its banner.

    Its C++ prints that banner on the file descriptor of stderr before any level of logging is in force, and later
    prints that there is no GPU as an error. What really fails is raised as an exception all the same.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import tensorflow  # noqa: F401
    finally:
        os.dup2(saved, 2)
        os.close(saved)
