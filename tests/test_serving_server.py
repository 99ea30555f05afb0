"""Connections that bring their request slowly, or never, over real sockets."""

import http.client
import io
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from PIL import Image

from serving import server
from tests.imports import ROOT
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


def test_the_time_for_headers_begins_anew_with_each_request(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for _ in range(3):
        connection.request("GET", "/health")
        assert connection.getresponse().read()
        time.sleep(0.3)  # in all longer than the first had
    connection.sock.sendall(b"GET /health HTTP/1.1\r\nHost:")
    assert connection.sock.recv(1) == b""
    connection.close()


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


RUN = """
import atexit, contextlib, pathlib, signal, sys
from faceline.errors import PictureError
from faceline.faces.decoding import decode
from serving import server
from serving.forms import PictureForm
from serving.problems import ProblemError
from serving.settings import ServeSettings

async def serve(*_, **__):
    BODY

server._serve, server.load_tensorflow = serve, lambda: None
atexit.register(print, "removed")
server.run(ServeSettings(bundle=pathlib.Path("none")), "127.0.0.1", 0, access_log=False)
"""
READ = "with contextlib.suppress(PictureError): decode(sys.stdin.buffer.read(), max_pixels=200)"
TWO_ORIENTATIONS = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x02\0\0\0\x06\0\x06\0\0\0\0\0"


def ended(body: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    """Status, stdout and stderr of a program whose server does this instead of serving."""
    command = [sys.executable, "-c", RUN.replace("BODY", body)]
    done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_what_is_left_for_the_end_is_done_after_sigterm_too() -> None:
    assert ended("signal.raise_signal(signal.SIGTERM)") == (0, b"removed\n", b"")


def test_asked_for_its_bundle_anew_while_it_starts_it_goes_on() -> None:
    assert ended("signal.raise_signal(signal.SIGHUP); print('goes on')") == (0, b"goes on\nremoved\n", b"")


def test_the_log_has_nothing_of_damaged_pictures() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10)).save(buffer, "JPEG", exif=TWO_ORIENTATIONS)
    assert ended(READ, buffer.getvalue()) == (0, b"removed\n", b"")
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10)).save(buffer, "TIFF")
    samples = struct.pack("<HHI", 277, 3, 1)  # a tag with one number: values of each pixel
    damaged = buffer.getvalue().replace(samples + b"\x03", samples + b"\xff")
    assert damaged != buffer.getvalue()
    assert ended(READ, damaged) == (0, b"removed\n", b"")


def test_the_log_has_nothing_of_broken_forms() -> None:
    write = """with contextlib.suppress(ProblemError): PictureForm(b"x", "picture", 1, 9).write(b"--y")"""
    assert ended(write) == (0, b"removed\n", b"")
