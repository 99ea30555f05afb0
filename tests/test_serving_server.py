"""Connections that bring their request slowly, or never, over real sockets."""

import socket
from collections.abc import Iterator

import pytest

from serving import server
from tests.serving import encoded, listening
from tests.toy_bundle import write_toy_bundle

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
FORM = b"multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a server that waits half a second for headers, and for uploads."""
    bundle = write_toy_bundle(tmp_path_factory.mktemp("server") / "bundle")
    with pytest.MonkeyPatch.context() as patch, listening(bundle, upload_timeout=0.5) as port:
        patch.setattr(server, "HEADER_TIMEOUT", 0.5)
        yield port


def talk(port: int, *parts: bytes) -> bytes:
    """All that the server says until it closes the connection."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
        while more := connection.recv(65536):
            said += more
    return said


def request(body: bytes, length: int | None = None) -> bytes:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (FORM, len(body) if length is None else length) + body


def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    assert talk(port) == b""


def test_headers_that_do_not_end_are_cut_off(port: int) -> None:
    assert talk(port, b"POST /predict HTTP/1.1\r\nHost: x\r\n") == b""


def test_a_whole_request_is_answered_and_the_next_that_does_not_end_is_cut_off(port: int) -> None:
    whole = request(PART + encoded() + b"\r\n--x--\r\n")
    said = talk(port, whole, b"GET /health HTTP/1.1\r\nHost:")
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert said.count(b"HTTP/1.1") == 1


def test_an_upload_that_stops_half_way_is_told_so(port: int) -> None:
    said = talk(port, request(PART + encoded()[:100], 5000))
    assert said.startswith(b"HTTP/1.1 408")
    assert b"slow_upload" in said
    assert b"connection: close" in said  # so that the rest is not taken for a request


def test_a_client_that_goes_away_half_way_leaves_it_serving(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request(PART, 5000))
    assert b" 200 OK" in talk(port, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


def test_the_server_does_not_say_what_it_is_made_of(port: int) -> None:
    said = talk(port, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"server:" not in said.lower()
