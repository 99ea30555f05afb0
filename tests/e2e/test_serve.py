"""`faceline serve` as a program, with the project's own bundle: under load, under attack, and at its end."""

import io
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from faceline.files import read_json, write_json
from tests.e2e.processes import running, until
from tests.e2e.served import free_port
from tests.imports import ROOT

pytestmark = pytest.mark.slow
FACELINE = str(Path(sys.executable).with_name("faceline"))
BUNDLE = ROOT / "models" / "pretrained" / "utkface"
SAMPLE = (ROOT / "docs" / "pictures" / "sample.jpg").read_bytes()
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
WAIT = httpx.Timeout(240.0)


@contextmanager
def serving(bundle: Path, log: Path, *options: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """A server that is ready and logs to a file, and its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = (FACELINE, "serve", "--bundle", str(bundle), "--port", str(port), *options)

    def ready() -> bool:
        try:
            return bool(httpx.get(f"{url}/health", timeout=WAIT).json()["ready"])
        except httpx.TransportError:
            return False

    with log.open("wb") as written, running(*command, cwd=ROOT, stdout=written, stderr=written) as process:
        until(ready)
        yield process, url


def ask(url: str, data: bytes = SAMPLE, **options: Any) -> httpx.Response:
    return httpx.post(f"{url}/predict", files={"picture": data}, params=options, timeout=WAIT)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(BUNDLE, tmp_path_factory.mktemp("log") / "log", "--max-waiting", "32") as (_, url):
        yield url


def picture(kind: str) -> bytes:
    """A picture of four faces; the whole sample has 50."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(SAMPLE)).crop((0, 0, 192, 192)).save(buffer, kind)
    return buffer.getvalue()


def test_people_are_found(url: str) -> None:
    faces = ask(url).json()["faces"]
    assert len(faces) > 10
    assert all(0 <= face["age"]["low"] <= face["age"]["years"] <= face["age"]["high"] for face in faces)
    assert len(ask(url, largest=True).json()["faces"]) == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_pictures_of_each_format_are_refused(url: str, kind: str) -> None:
    whole, chance = picture(kind), random.Random(1)  # noqa: S311 - the same wounds every time
    damaged = [whole[: len(whole) // 3], whole[:20]]
    for _ in range(20):
        changed = bytearray(whole)
        for _ in range(20):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        damaged.append(bytes(changed))
    for data in damaged:
        assert ask(url, data).status_code in (200, 413, 415, 422)  # a picture may survive its wounds
    assert ask(url, whole).status_code == 200


def test_a_decompression_bomb_is_refused_unopened(url: str) -> None:
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, "PNG")  # 900 million pixels in some 100 kB
    answer = ask(url, buffer.getvalue())
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:faceline:too_many_pixels")


def test_two_hundred_clients_at_once_are_answered_or_told_to_come_again(url: str) -> None:
    data, many = picture("JPEG"), httpx.Limits(max_connections=200)
    with ThreadPoolExecutor(200) as pool, httpx.Client(timeout=WAIT, limits=many) as client:
        asking = [pool.submit(client.post, f"{url}/predict", files={"picture": data}) for _ in range(200)]
        answers = [answer.result() for answer in asking]
    assert 200 in {answer.status_code for answer in answers} <= {200, 503}
    for answer in answers:
        assert answer.status_code == 200 or answer.headers["retry-after"] == "1"
    assert ask(url).status_code == 200


def test_uploads_that_are_cut_off_leave_it_serving(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n"
    head += b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    opened = [socket.create_connection((host, int(port))) for _ in range(40)]  # more than may wait
    for connection in opened[:-8]:
        connection.sendall(head + b"--x\r\n")
    for connection in opened:
        connection.close()
    until(lambda: ask(url).status_code == 200)


def test_a_bundle_that_changes_is_taken_up_without_losing_a_request(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(BUNDLE, bundle)
    with serving(bundle, tmp_path / "log") as (process, url), ThreadPoolExecutor(4) as pool:
        before = httpx.get(f"{url}/health").json()["digest"]
        stop = False

        def keep_asking(_: int) -> list[int]:
            statuses = []
            while not stop:
                statuses.append(ask(url, picture("JPEG")).status_code)
            return statuses

        asking = [pool.submit(keep_asking, number) for number in range(4)]
        try:
            card = read_json(bundle / "card.json")
            write_json(bundle / "card.json", {**card, "dataset": "another"})
            process.send_signal(signal.SIGHUP)
            until(lambda: httpx.get(f"{url}/health", timeout=WAIT).json()["bundle"].endswith("another"))
            assert httpx.get(f"{url}/health").json()["digest"] != before
            (bundle / "card.json").write_text("{}")  # of no use: it goes on with what it has
            process.send_signal(signal.SIGHUP)
            assert ask(url).status_code == 200
        finally:
            stop = True
        statuses = [status for task in asking for status in task.result()]
        assert statuses and set(statuses) == {200}


def test_sigterm_answers_what_is_under_way(tmp_path: Path) -> None:
    files = [("pictures", SAMPLE)] * 2  # of fifty faces each: work for some seconds
    with serving(BUNDLE, tmp_path / "log") as (process, url), ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(httpx.post, f"{url}/predict/batch", files=files, timeout=WAIT) for _ in range(4)]
        # This question is itself the fifth.
        until(lambda: "faceline_requests_under_way 5.0" in httpx.get(f"{url}/metrics", timeout=WAIT).text)
        process.send_signal(signal.SIGTERM)
        assert [answer.result().status_code for answer in asking] == [200] * 4
        assert process.wait(120) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_bundle_that_is_of_no_use_is_one_line(tmp_path: Path) -> None:
    command = [FACELINE, "serve", "--bundle", str(tmp_path), "--port", str(free_port())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"Error: {tmp_path / 'card.json'} is missing" in done.stderr
