"""`faceline serve`: what its options and the environment become."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from faceline.cli import main
from serving import server
from serving.settings import ServeSettings


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ServeSettings, str, int, bool]]:
    """What the command asked of the server, which is not started."""
    found: list[tuple[ServeSettings, str, int, bool]] = []

    def run(settings: ServeSettings, host: str, port: int, *, access_log: bool) -> None:
        found.append((settings, host, port, access_log))

    monkeypatch.setattr(server, "run", run)
    return found


def serve(*options: str, **environment: str) -> Any:
    return CliRunner().invoke(main, ["serve", *options], env=environment)


def test_it_listens_on_localhost_and_asks_no_key(asked: list[Any]) -> None:
    assert serve("--bundle", "b").exit_code == 0
    assert asked == [(ServeSettings(bundle=Path("b")), "127.0.0.1", 5000, True)]


def test_options_and_environment(asked: list[Any]) -> None:
    options = ("--max-bytes", "9", "--max-pixels", "8", "--max-waiting", "7", "--no-access-log", "--host", "192.0.2.1")
    environment = {
        "FACELINE_PORT": "80",
        "FACELINE_API_KEY": "secret",
        "FACELINE_BUNDLE": "b",
        "FACELINE_CORS_ORIGINS": "x",
        "FACELINE_BYTES_IN_MEMORY": "300000000",
    }
    done = serve(*options, "--cors-origin", "https://a", "--cors-origin", "https://b", **environment)
    assert done.exit_code == 0, done.output
    origins = ("https://a", "https://b")
    wanted = ServeSettings(
        bundle=Path("b"),
        api_key="secret",
        cors_origins=origins,
        max_bytes=9,
        max_pixels=8,
        max_waiting=7,
        bytes_in_memory=300_000_000,
    )
    assert asked == [(wanted, "192.0.2.1", 80, False)]


@pytest.mark.parametrize(
    "option", [("--port", "70000"), ("--max-bytes", "0"), ("--max-waiting", "x"), ("--nothing", "1")]
)
def test_what_is_not_allowed_stops_before_any_work(asked: list[Any], option: tuple[str, str]) -> None:
    done = serve(*option)
    assert done.exit_code == 2
    assert option[0] in done.output
    assert not asked


def test_an_empty_key_is_refused(asked: list[Any]) -> None:
    done = serve("--bundle", "b", "--api-key", "")
    assert done.exit_code == 2
    assert "serve.api_key" in done.output
    assert not asked


def test_a_key_that_the_environment_leaves_empty_is_refused(asked: list[Any]) -> None:
    """Who meant to ask for a key, and misspelt its variable, would serve everybody."""
    done = serve("--bundle", "b", FACELINE_API_KEY="")
    assert done.exit_code == 2
    assert "FACELINE_API_KEY is set, but empty" in " ".join(done.output.split())
    assert not asked


@pytest.mark.parametrize("key", ["schlüssel", "sur€", "two words", "end "])
def test_a_key_that_no_header_carries_is_refused_and_not_told(asked: list[Any], key: str) -> None:
    done = serve("--bundle", "b", FACELINE_API_KEY=key)
    assert done.exit_code == 2
    assert "printable ASCII without spaces is allowed" in " ".join(done.output.split())
    assert key not in done.output
    assert not asked


def test_less_room_than_one_request_may_take_is_refused(asked: list[Any]) -> None:
    done = serve("--bundle", "b", "--bytes-in-memory", "1000", "--api-key", "secret")
    assert done.exit_code == 2
    assert "serve.bytes_in_memory = 1000: one request may bring more; allowed: at least 167837696" in done.output
    assert "secret" not in done.output
    assert not asked
