"""Bytes of uploads in memory: how many there may be, of whom, and that each way a request may end gives them back."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from serving.settings import FRAMING, ServeSettings
from tests.e2e.processes import until
from tests.serving import POISON, black, encoded, held, listening, served
from tests.toy_bundle import write_toy_bundle

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
LARGEST = 20_000  # bytes of a picture
ROOM = 60_000  # bytes: two requests with such a picture, and a small one
FORM = b"multipart/form-data; boundary=x"
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
PART = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_bundle(tmp_path_factory.mktemp("uploads") / "bundle")


@pytest.fixture(scope="module")
def far(bundle: Path) -> Iterator[httpx.Client]:
    """A client of a server that listens on a socket and has little room."""
    settings = {"max_bytes": LARGEST, "max_pictures": 1, "bytes_in_memory": ROOM, "upload_timeout": 5}
    with listening(bundle, **settings) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def client(bundle: Path) -> Iterator[TestClient]:
    with served(bundle, max_bytes=LARGEST, max_pictures=1, bytes_in_memory=ROOM) as (client, _):
        yield client


def large() -> bytes:
    """A picture of as many bytes as are allowed; what follows a PNG's end is ignored."""
    return black() + bytes(LARGEST - len(black()))


def ask(client: Any, data: bytes) -> Any:
    return client.post("/predict", files={"picture": data})


def in_memory(client: Any) -> float:
    """Bytes of uploads, as the metrics say."""
    text = client.get("/metrics").text
    (line,) = [line for line in text.splitlines() if line.startswith("faceline_upload_bytes ")]
    return float(line.split()[1])


def until_in_memory(client: httpx.Client, least: int, most: int) -> None:
    """Wait until so many bytes of uploads are in memory."""
    until(lambda: least <= in_memory(client) <= most)


def opened(far: httpx.Client, length: int, sent: int) -> socket.socket:
    """A connection that declared an upload of `length` bytes and brought `sent` of its picture."""
    connection = socket.create_connection((far.base_url.host, far.base_url.port or 0), timeout=60)
    connection.sendall(HEAD % (FORM, length) + PART + bytes(sent))
    return connection


def test_an_upload_that_finds_no_room_is_turned_away(bundle: Path) -> None:
    settings = {"max_bytes": LARGEST, "max_pictures": 1, "bytes_in_memory": ROOM}
    with served(bundle, **settings) as (client, service), ThreadPoolExecutor(2) as pool:
        held(service).go.clear()
        waiting = [pool.submit(ask, client, large()) for _ in range(2)]
        until(lambda: service._bytes >= 2 * LARGEST)
        refused = ask(client, large())
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["type"] == "urn:faceline:overloaded"
        assert f"{ROOM} bytes" in refused.json()["detail"]
        assert 2 * LARGEST < in_memory(client) < 2 * (LARGEST + FRAMING)  # nothing is left of the third
        held(service).go.set()
        assert [answer.result().status_code for answer in waiting] == [200, 200]
        assert ask(client, large()).status_code == 200
        assert in_memory(client) == 0


def test_who_declares_much_and_sends_little_keeps_nobody_away(far: httpx.Client) -> None:
    slow = [opened(far, LARGEST + FRAMING, 100) for _ in range(8)]
    try:
        until_in_memory(far, 8 * 100, 8 * (100 + FRAMING))
        assert ask(far, large()).status_code == 200
    finally:
        for connection in slow:
            connection.close()
    until_in_memory(far, 0, 0)


def test_half_sent_uploads_take_nobodys_turn(bundle: Path) -> None:
    settings = {"max_bytes": LARGEST, "max_pictures": 1, "bytes_in_memory": ROOM, "max_waiting": 2}
    with listening(bundle, **settings) as port, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        slow = [opened(client, LARGEST, 100) for _ in range(5)]
        until_in_memory(client, 500, 5 * FRAMING)
        assert ask(client, encoded()).status_code == 200
        for connection in slow:
            connection.close()
        until_in_memory(client, 0, 0)


def test_who_declares_too_much_is_told_so_before_sending_it(far: httpx.Client) -> None:
    with opened(far, LARGEST + FRAMING + 1, 0) as connection:
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_what_follows_a_form_counts_too(client: TestClient) -> None:
    def body() -> Iterator[bytes]:
        yield PART + black() + b"\r\n--x--\r\n"
        yield from (bytes(1000) for _ in range(25))

    answer = client.post("/predict", content=body(), headers={"content-type": FORM.decode()})
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:faceline:too_many_bytes")


def test_of_uploads_that_cannot_all_be_held_one_goes_on(far: httpx.Client) -> None:
    half_there = [opened(far, len(PART) + LARGEST + 9, LARGEST // 2) for _ in range(5)]
    until_in_memory(far, 5 * LARGEST // 2, ROOM)
    for connection in half_there:
        connection.sendall(bytes(LARGEST // 2) + b"\r\n--x--\r\n")
    statuses = sorted(connection.recv(12)[9:] for connection in half_there)
    for connection in half_there:
        connection.close()
    assert set(statuses) == {b"415", b"503"}  # zeros are no picture
    until_in_memory(far, 0, 0)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (PART + black() + b"\r\n--x--\r\n", 200),
        (PART + encoded(red=POISON) + b"\r\n--x--\r\n", 500),
        (PART + b"no picture\r\n--x--\r\n", 415),
        (PART + bytes(LARGEST + 1), 413),
        (PART + b"no end", 422),
        (PART.replace(b"picture", b"photo"), 422),
    ],
)
def test_an_answer_of_any_kind_gives_the_bytes_back(client: TestClient, body: bytes, status: int) -> None:
    sent = client.post("/predict", content=body, headers={"content-type": FORM.decode()})
    assert sent.status_code == status
    assert in_memory(client) == 0


def test_an_upload_that_stops_or_is_cut_off_gives_the_bytes_back(far: httpx.Client) -> None:
    with opened(far, LARGEST, 100) as slow:
        until_in_memory(far, 100, FRAMING)
        assert slow.recv(12) == b"HTTP/1.1 408"
    until_in_memory(far, 0, 0)
    with opened(far, LARGEST, 100):
        until_in_memory(far, 100, FRAMING)
    until_in_memory(far, 0, 0)
    assert 'status="500"' not in far.get("/metrics").text  # who goes away is no fault of the server


def test_an_answer_that_takes_too_long_gives_the_bytes_back(bundle: Path) -> None:
    with served(bundle, answer_timeout=0.2) as (client, service):
        held(service).go.clear()
        assert ask(client, encoded()).json()["type"] == "urn:faceline:timeout"
        assert in_memory(client) == 0
        held(service).go.set()


def test_the_room_must_hold_what_one_request_may_bring() -> None:
    least = 3 * (1000 + FRAMING)
    limits: dict[str, Any] = {"bundle": Path("b"), "max_bytes": 1000, "max_pictures": 3}
    assert ServeSettings(**limits, bytes_in_memory=least).request_bytes(3) == least
    with pytest.raises(ValidationError, match=f"at least {least}"):
        ServeSettings(**limits, bytes_in_memory=least - 1)
    with pytest.raises(ValidationError, match="bytes_in_memory"):
        ServeSettings(bundle=Path("b"), max_pictures=1000)  # more than the room by default
