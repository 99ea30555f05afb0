"""The web server of reports: the pages of a project and its clones, and nothing else of theirs."""

import asyncio
import socket
from pathlib import Path

import httpx
import pytest

from pipelines.reports import ADDRESS, application, link, serve
from pipelines.server import ServerError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for root in (tmp_path, tmp_path / ".dvc/tmp/pipelines/nightly"):
        (root / "data/report").mkdir(parents=True)
        (root / "data/report/index.html").write_text(f"report of {root.name}")
    (tmp_path / "data/secret").write_text("secret")
    (tmp_path / ".dvc/tmp/pipelines/empty").mkdir()
    return tmp_path


def get(folder: Path, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=application(folder))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_reports_and_nothing_beside_them(folder: Path) -> None:
    assert get(folder, "/workspace/index.html").text == f"report of {folder.name}"
    assert get(folder, "/workspace/").text == f"report of {folder.name}"
    assert get(folder, "/nightly/index.html").text == "report of nightly"
    for path in ("/other/index.html", "/empty/index.html", "/workspace/none.html", "/workspace/%2e%2e/secret",
                 "/workspace/..%2fsecret", "/%2e%2e/index.html", "/workspace//etc/passwd"):  # fmt: skip
        assert get(folder, path).status_code == 404, path


def test_links_lead_there_or_to_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS, raising=False)
    assert link(folder) == (folder / "data/report/index.html").as_uri()
    monkeypatch.setenv(ADDRESS, "http://127.0.0.1:4201")
    assert link(folder) == "http://127.0.0.1:4201/workspace/index.html"
    assert link(folder / ".dvc/tmp/pipelines/nightly") == "http://127.0.0.1:4201/nightly/index.html"
    assert link(folder / "data") is None


def test_reports_are_served_and_a_port_of_another_program_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS, "https://reports.example.org")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=rf"port {port}: Address already in use; choose another with --reports"):
            serve(folder, port)
    serve(folder, port)
    assert httpx.get(f"http://127.0.0.1:{port}/workspace/", timeout=30).text == f"report of {folder.name}"
