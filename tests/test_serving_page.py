"""The web page as a browser gets it: what is served, what of Gradio is shut, and that nothing comes from elsewhere."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from starlette.websockets import WebSocketDisconnect

from faceline.datasets.sample.picture import take
from serving import app
from serving.device import BUILT
from serving.page import FILES, SAMPLES
from serving.page.gate import FOLDER
from serving.page.pictures import ICONS, QUALITY, SHOTS, icon
from serving.service import Service
from serving.settings import ServeSettings
from tests.imports import ROOT

ADDRESS = "http://testserver"


@contextmanager
def served(**settings: Any) -> Iterator[TestClient]:
    """A client of a server that has not opened its bundle, which the page can do without."""
    service = Service(ServeSettings(bundle=Path("none"), **settings))
    with TestClient(app.create_app(service), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with served(max_bytes=12_345) as client:
        yield client


def uploads() -> list[Path]:
    """What was uploaded to Gradio."""
    return [path for path in Path(os.environ[FOLDER]).rglob("*") if path.is_file()]


def component(html: str) -> dict[str, Any]:
    """The page's one component, as Gradio tells it to the browser."""
    found = re.search(r"window\.gradio_config = ({.*?});</script>", html, re.DOTALL)
    assert found
    (only,) = json.loads(found[1])["components"]
    props: dict[str, Any] = only["props"]
    return props


def test_the_root_leads_to_the_page(client: TestClient) -> None:
    page = client.get("/")
    assert (page.status_code, page.url.path) == (200, "/page/")
    assert client.get("/", follow_redirects=False).headers["location"] == "page/"  # whatever a proxy puts before it
    assert client.get("/page").url.path == "/page/"
    assert "<title>faceline" in page.text
    assert component(page.text)["props"]["max_bytes"] == 12_345


def test_all_that_the_page_names_is_there(client: TestClient) -> None:
    html = client.get("/page/").text
    named = set(re.findall(r'(?:src|href)="([^"#]+)"', html)) - {"./"}
    assert len(named) > 5
    files = [*(path.name for path in FILES.iterdir()), "faces.js", "incoming.js"]
    for name in [*named, "theme.css", *(f"files/{file}" for file in files)]:
        found = client.get(f"/page/{name}")
        assert found.status_code == 200, name
        assert found.headers["x-content-type-options"] == "nosniff"
    for script in FILES.glob("*.js"):
        for imported in re.findall(r'from "\./([a-z]+\.js)"', script.read_text(encoding="utf-8")):
            assert "javascript" in client.get(f"/page/files/{imported}").headers["content-type"]


def test_nothing_comes_from_elsewhere(client: TestClient) -> None:
    html = client.get("/page/").text
    addresses = set(re.findall(r"(?:https?:)?//[a-z0-9.]+[^\s\"'<]*", html))
    assert {address for address in addresses if not address.startswith(ADDRESS)} == set()
    theme = client.get("/page/theme.css").text
    assert "@import" not in theme and not re.findall(r"url\((?![\"']?data:)", theme)


def test_the_policy_names_each_script_and_forbids_other_hosts(client: TestClient) -> None:
    pages = [client.get("/page/") for _ in range(2)]
    nonces = []
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none';") and "connect-src 'self';" in policy and "http" not in policy
        (nonce,) = re.findall(r"'nonce-([\w-]+)'", policy)
        assert len(re.findall("<script", page.text)) == page.text.count(f'<script nonce="{nonce}"') > 2
        assert "frame-ancestors 'none'" in policy
        assert page.headers["cache-control"] == "no-store"
        nonces.append(nonce)
    assert nonces[0] != nonces[1]


def test_browsers_are_told_what_to_keep_and_what_the_page_may_use(client: TestClient) -> None:
    page = client.get("/page/")
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["permissions-policy"] == "camera=(self), microphone=(), geolocation=()"
    assert client.get("/page/files/page.js").headers["cache-control"] == "no-cache"
    named = re.search(r'src="\./(assets/[^"]+\.js)"', page.text)
    assert named and "immutable" in client.get(f"/page/{named[1]}").headers["cache-control"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "gradio_api/upload"),
        ("POST", "upload"),
        ("POST", ""),
        ("OPTIONS", ""),
        ("POST", "login"),
        ("POST", "gradio_api/queue/join"),
        ("POST", "gradio_api/run/predict"),
        ("POST", "gradio_api/process_recording"),
        ("GET", "gradio_api/upload"),
        ("GET", "config"),
        ("GET", "monitoring"),
        ("GET", "gradio_api/info"),
        ("GET", "gradio_api/openapi.json"),
        ("GET", "gradio_api/heartbeat/x"),
        ("GET", "gradio_api/startup-events"),
        ("GET", "gradio_api/file=/etc/hostname"),
        ("GET", "gradio_api/proxy=https://example.org/"),
        ("GET", "static/img/logo.svg"),
        ("GET", "docs"),
        ("GET", "files/../page.html"),
        ("GET", "files/nothing.js"),
        ("GET", "assets/nothing.js"),
        ("GET", "assets/..%2f..%2f..%2froutes.py"),
    ],
)
def test_what_else_gradio_has_is_shut(client: TestClient, method: str, path: str) -> None:
    files = {"files": ("private.png", b"a picture")} if method == "POST" else None
    assert client.get("/page/").is_success
    answer = client.request(method, f"/page/{path}", files=files)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert uploads() == []


@pytest.mark.parametrize("path", ["", "theme.css", "files/page.js", "static/js/iframeResizer.contentWindow.min.js"])
def test_its_headers_alone_are_those_of_the_whole(client: TestClient, path: str) -> None:
    whole, headers = client.get(f"/page/{path}"), client.head(f"/page/{path}")
    assert (headers.status_code, headers.content) == (200, b"")
    for name in ("content-type", "cache-control", "x-content-type-options"):
        assert headers.headers[name] == whole.headers[name]


def test_a_refusal_of_gradio_is_no_fault(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    script = "/page/static/js/iframeResizer.contentWindow.min.js"
    refused = client.get(script, headers={"Range": "bytes=99999999-"})
    assert (refused.status_code, refused.headers["content-type"]) == (416, "application/problem+json")
    assert "Traceback" not in caplog.text


def test_no_websocket_is_opened(client: TestClient) -> None:
    for path in ("/page/", "/page/gradio_api/queue/join"):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(path):
            pass


def test_what_a_client_makes_up_does_not_reach_gradio(client: TestClient) -> None:
    headers = {"Origin": "http://localhost:3000", "X-Forwarded-Host": "example.org", "Accept-Encoding": "br"}
    page = client.get("/page/", params={"deep_link": "x", "page": "../x"}, headers=headers)
    assert page.status_code == 200 and "example.org" not in page.text
    assert not [name for name in page.headers if name.startswith("access-control")]


def test_it_can_be_installed(client: TestClient) -> None:
    answer = client.get("/page/files/manifest.webmanifest")
    assert answer.headers["content-type"].startswith("application/manifest+json")
    manifest = answer.json()
    assert manifest["name"] and manifest["short_name"] and manifest["display"] == "standalone"
    for key in ("start_url", "scope", "id"):
        assert client.get(f"/page/files/{manifest[key]}").url.path == "/page/"
    for told in manifest["icons"]:
        found = client.get(f"/page/files/{told['src']}")
        assert found.headers["content-type"] == told["type"]
        if told["type"] == "image/png":
            width, height = Image.open(io.BytesIO(found.content)).size
            assert told["sizes"] == f"{width}x{height}"
    assert {"192x192", "512x512"} <= {told["sizes"] for told in manifest["icons"]}


def test_a_key_is_asked_for_and_not_told() -> None:
    with served(api_key="secret") as client:
        html = client.get("/page/").text
    assert component(html)["props"]["needs_key"] is True
    assert "secret" not in html


def test_the_page_of_the_device_is_linked_where_it_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "DEVICE", tmp_path)
    with served() as client:
        assert component(client.get("/page/").text)["props"]["device"] is False
    for made in BUILT:
        (tmp_path / made).mkdir()
    with served() as client:
        assert component(client.get("/page/").text)["props"]["device"] is True


def test_a_server_may_have_no_page() -> None:
    with served(page=False) as client:
        for path in ("/", "/page/", "/page/files/page.js"):
            assert client.get(path).headers["content-type"] == "application/problem+json"


def test_gradio_is_imported_for_the_page_alone() -> None:
    code = "import sys, faceline.cli, serving.app, serving.server; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "serving.page.gate" in loaded.split() and "gradio" not in loaded.split()


def test_samples_and_icons_are_what_their_program_makes() -> None:
    for sample, shot in list(zip(SAMPLES, SHOTS, strict=True))[:1]:
        buffer = io.BytesIO()
        take(shot).save(buffer, "JPEG", quality=QUALITY, optimize=True)
        assert (FILES / sample["file"]).read_bytes() == buffer.getvalue()
    for side in ICONS:
        assert Image.open(FILES / f"icon-{side}.png").convert("RGB").tobytes() == icon(side).tobytes()
    assert sum((FILES / sample["file"]).stat().st_size for sample in SAMPLES) < 150_000
