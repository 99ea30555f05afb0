"""Where progress and messages to people go: stderr, so that stdout stays for programs."""

from rich.console import Console


def stderr() -> Console:
    """A console on stderr; wide enough for one line a message where it is no terminal."""
    return Console(stderr=True, soft_wrap=True)
