"""Requests a second and latency of `faceline serve`, beside the obvious service, over loopback.

Both run at the same time with the same bundle and take turns: one client, then 16, each sending picture after picture
of 200×200 pixels and waiting for the answer. Prints requests a second, the median and 95th percentile of the latency,
and ratios of the medians over the rounds. `--soak 20000` sends so many requests more to ours and prints its memory.

    python -m benchmarks.serve --json
"""

import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import psutil  # type: ignore[import-untyped]  # it has no stubs

from benchmarks.pictures import chips
from faceline.cli import DEFAULT, default_bundle

BOUNDARY = "a-boundary-that-no-picture-holds"
START = 300.0  # seconds that a server may take to start
OURS, OBVIOUS = "faceline serve", "the obvious service"


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    process: "subprocess.Popen[bytes]"

    def resident(self) -> int:
        """Bytes of memory that it holds now."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


@contextlib.contextmanager
def started(*command: str) -> Iterator[Server]:
    """A server, once it answers; `command` gets the port as its last argument."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    # Without the settings of another server, as a key that nobody here sends.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FACELINE_")}
    process = subprocess.Popen([*command, str(port)], stdout=subprocess.DEVNULL, env=environment)
    try:
        deadline, body = time.monotonic() + START, form(chips(1)[1][0])
        while not answers(port, body):
            if time.monotonic() > deadline or process.poll() is not None:
                raise click.ClickException(f"`{' '.join(command)}` did not start")
            time.sleep(0.5)
        yield Server(port, process)
    finally:
        process.terminate()
        process.wait()


def answers(port: int, body: bytes) -> bool:
    """Whether a server answers a picture."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START)
    try:
        connection.request("POST", "/predict", body, HEADERS)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(picture: bytes) -> bytes:
    """The body that uploads a picture."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="picture"; filename="a.jpg"\r\n'
    return f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()


def load(server: Server, bodies: list[bytes], clients: int, *, seconds: float = 1e9, most: int = sys.maxsize) -> Any:
    """Send requests for so many seconds, or so many requests, whichever is less.

    Returns:
        requests a second, and the latencies in seconds.

    Raises:
        ClickException: a request was not answered, or with another status than 200.
    """
    latencies: list[float] = []
    begun, lock = 0, threading.Lock()
    start = time.perf_counter()

    def client() -> None:
        nonlocal begun
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=START)
        while True:
            with lock:
                number, begun = begun, begun + 1
            if number >= most or time.perf_counter() - start >= seconds:
                return
            asked = time.perf_counter()
            connection.request("POST", "/predict", bodies[number % len(bodies)], HEADERS)
            answer = connection.getresponse()
            answer.read()
            if answer.status != http.client.OK:
                raise click.ClickException(f"the server on port {server.port} answered {answer.status}")
            latencies.append(time.perf_counter() - asked)

    with ThreadPoolExecutor(clients) as pool:
        ended = [pool.submit(client) for _ in range(clients)]
    try:
        for each in ended:
            each.result()
    except (OSError, http.client.HTTPException) as error:
        raise click.ClickException(f"the server on port {server.port}: {error!r}") from None
    return len(latencies) / (time.perf_counter() - start), latencies


def told(rates: list[float], latencies: list[float]) -> dict[str, float]:
    """Medians over the rounds of one server with so many clients."""
    ordered = sorted(latencies)
    return {
        "requests_per_second": round(statistics.median(rates), 2),
        "latency_ms": round(1000 * statistics.median(ordered), 1),
        "latency_95_ms": round(1000 * ordered[int(0.95 * (len(ordered) - 1))], 1),
    }


def soaked(server: Server, bodies: list[bytes], requests: int) -> dict[str, Any]:
    """Memory of a server, MiB, at ten moments while it answers so many requests."""
    resident = []
    for _ in range(10):
        load(server, bodies, 16, most=requests // 10)
        resident.append(round(server.resident() / 2**20))
    return {"requests": requests, "resident_mib": resident}


def compared(
    servers: dict[str, Server], bodies: list[bytes], clients: int, seconds: float, rounds: int
) -> dict[str, Any]:
    """What each server does with so many clients, and the ratio of ours to the obvious one."""
    rates: dict[str, list[float]] = {name: [] for name in servers}
    latencies: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            rate, measured = load(server, bodies, clients, seconds=seconds)
            rates[name].append(rate)
            latencies[name] += measured
    found = {name: told(rates[name], latencies[name]) for name in servers}
    ratio = found[OURS]["requests_per_second"] / found[OBVIOUS]["requests_per_second"]
    return {"clients": clients, **found, "ratio": round(ratio, 2)}


def show(found: dict[str, Any]) -> None:
    """Print the result for people."""
    for row in found["load"]:
        for name in (OURS, OBVIOUS):
            rate, latency, slow = row[name].values()
            told_rate = f"{rate:8.2f} requests/s, latency {latency:7.1f} ms (95 %: {slow:.1f} ms)"
            click.echo(f"{row['clients']:3} clients, {name:19} {told_rate}")
        click.echo(f"{row['clients']:3} clients, ratio {row['ratio']:.2f}")
    if "soak" in found:
        click.echo(f"memory over {found['soak']['requests']} requests, MiB: {found['soak']['resident_mib']}")


@click.command(help=__doc__)
@click.option("--bundle", type=click.Path(path_type=Path), default=default_bundle, show_default=DEFAULT)
@click.option("--pictures", type=click.IntRange(min=1), default=200, show_default=True, help="Different ones sent.")
@click.option("--seconds", type=click.FloatRange(min=1), default=20, show_default=True, help="Of a turn.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Turns that each takes.")
@click.option("--clients", type=click.IntRange(min=2), default=16, show_default=True, help="At once, beside one.")
@click.option("--soak", type=click.IntRange(min=10), help="Requests while memory is watched.  [default: none]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def main(
    *, bundle: Path, pictures: int, seconds: float, rounds: int, clients: int, soak: int | None, as_json: bool
) -> None:
    """Start both, take turns, compare."""
    kind, encoded = chips(pictures)
    bodies = [form(picture) for picture in encoded]
    program = str(Path(sys.executable).with_name("faceline"))
    ours = (program, "serve", "--bundle", str(bundle), "--no-access-log", "--port")
    obvious = (sys.executable, "-m", "benchmarks.obvious", str(bundle))
    with started(*ours) as first, started(*obvious) as second:
        servers = {OURS: first, OBVIOUS: second}
        found: dict[str, Any] = {"bundle": str(bundle), "pictures": kind, "seconds": seconds, "rounds": rounds}
        found["load"] = [compared(servers, bodies, count, seconds, rounds) for count in (1, clients)]
        if soak:
            found["soak"] = soaked(first, bodies, soak)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        show(found)


if __name__ == "__main__":
    main()
