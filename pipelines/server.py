"""A Prefect server on this machine: started, found, and waited for."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
import httpx

HOST = "127.0.0.1"
PORT = 4200
PATIENCE = 120.0  # seconds for a server to answer


class ServerError(click.ClickException):
    """A server that does not answer, or cannot be started."""


def url(port: int = PORT) -> str:
    """Where the API of a server on this machine is."""
    return f"http://{HOST}:{port}/api"


def answers(api: str) -> bool:
    """Whether there is a server."""
    try:
        return httpx.get(f"{api}/health", timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@contextmanager
def running(port: int) -> Iterator[str]:
    """The API of the server on this port; one that had to be started is ended with the block.

    Raises:
        ServerError: it did not come up.
    """
    api = url(port)
    if answers(api):
        yield api
        return
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    environment = {**os.environ, "PREFECT_SERVER_UI_API_URL": api}
    stderr = 2  # where its banner goes too, so that stdout stays for programs
    server = subprocess.Popen(command, env=environment, stdout=stderr, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(api):
            if server.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"the Prefect server did not come up on port {port}; is it in use?")
            time.sleep(0.5)
        yield api
    finally:
        server.terminate()
        server.wait()
