"""The API over a toy bundle: what it answers, what it refuses, and what it keeps of a picture (nothing)."""

import logging
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from faceline.learning.bundle import Predictor
from faceline.learning.telling import face_record
from serving import app
from serving.device import BUILT
from tests.serving import POISON, black, encoded, served
from tests.toy_bundle import FACES, Finds, write_toy_bundle

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_bundle(tmp_path_factory.mktemp("serving") / "bundle")


@pytest.fixture
def client(bundle: Path) -> Iterator[TestClient]:
    with served(bundle, max_bytes=40_000, max_pictures=3) as (client, _):
        yield client


def ask(client: TestClient, data: bytes, **options: Any) -> Any:
    return client.post("/predict", files={"picture": ("private.png", data)}, params=options)


def problem(response: Any, status: int, kind: str) -> dict[str, Any]:
    """The problem that a response tells, which must be this one."""
    assert response.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert (response.status_code, told["status"], told["type"]) == (status, status, f"urn:faceline:{kind}"), told
    assert told["title"] and told["detail"]
    return told


def png(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and is not."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(9)))]
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_pages_of_other_origins_may_not_ask(bundle: Path, path: str) -> None:
    """A form may be sent to anybody: only the answer would be kept from the page."""

    def status(client: TestClient, **headers: str) -> int:
        files = {"picture" if path == "/predict" else "pictures": encoded()}
        told = client.post(path, files=files, headers={name.replace("_", "-"): told for name, told in headers.items()})
        assert told.status_code == 200 or problem(told, 403, "foreign_page")
        return told.status_code

    with served(bundle, cors_origins=("https://ours.example",)) as (client, _):
        assert (
            status(client)
            == status(client, sec_fetch_site="same-origin")
            == status(client, sec_fetch_site="none")
            == 200
        )
        assert status(client, sec_fetch_site="cross-site") == status(client, sec_fetch_site="same-site") == 403
        assert status(client, sec_fetch_site="cross-site", origin="https://theirs.example") == 403
        assert status(client, sec_fetch_site="cross-site", origin="https://ours.example") == 200
    with served(bundle, cors_origins=("*",)) as (client, _):
        assert status(client, sec_fetch_site="cross-site", origin="https://theirs.example") == 200


def test_it_answers_what_the_predictor_answers(client: TestClient, bundle: Path) -> None:
    data = encoded()
    predictor = Predictor(bundle, Finds())
    (wanted,) = predictor.predict([data])
    found = ask(client, data).json()
    assert (found["width"], found["height"]) == (60, 40)
    assert found["faces"] == [face_record(answer, predictor.card) for answer in wanted]
    assert len(found["faces"]) == 2


def test_a_picture_without_a_face_is_an_answer(client: TestClient) -> None:
    response = ask(client, black())
    assert response.status_code == 200
    assert response.json() == {"width": 60, "height": 40, "faces": []}


def test_the_largest_face_alone(client: TestClient) -> None:
    (face,) = ask(client, encoded(), largest=True).json()["faces"]
    assert (face["box"]["width"], face["box"]["height"]) == (FACES[0].width, FACES[0].height)
    assert ask(client, black(), largest=True).json()["faces"] == []


def test_a_cropped_face_is_taken_whole(client: TestClient) -> None:
    (face,) = ask(client, black(), cropped=True).json()["faces"]
    assert face["box"] == {"x": 0, "y": 0, "width": 60, "height": 40}
    assert 0 <= face["gender"]["probability"] <= 1


def test_a_target_that_the_bundle_lacks_is_null(tmp_path: Path) -> None:
    with served(write_toy_bundle(tmp_path / "gender", "gender")) as (client, _):
        face = ask(client, encoded()).json()["faces"][0]
    assert face["age"] is None and face["race"] is None
    assert face["gender"]["label"] in ("male", "female")


def test_a_batch_has_an_answer_or_a_problem_for_each(client: TestClient) -> None:
    files = [("pictures", data) for data in (encoded(), b"no picture", black())]
    first, second, third = client.post("/predict/batch", files=files).json()["pictures"]
    assert first == ask(client, encoded()).json()
    assert (second["status"], second["type"]) == (415, "urn:faceline:not_a_picture")
    assert third["faces"] == []
    (alone,) = client.post("/predict/batch", files=files[:1], params={"largest": True}).json()["pictures"]
    assert [face["box"] for face in alone["faces"]] == [first["faces"][0]["box"]]
    problem(client.post("/predict/batch", files=[*files, *files]), 422, "bad_form")


@pytest.mark.parametrize(
    ("data", "status", "kind"),
    [
        (b"", 422, "empty_file"),
        (b"<html>", 415, "not_a_picture"),
        (b"%PDF-1.7", 415, "unsupported_format"),
        (encoded()[:400], 422, "truncated_picture"),
        (png(10_001, 10_000), 413, "too_many_pixels"),
        (encoded(size=(101, 100)), 413, "too_many_pixels"),  # the card allows 10,000
        (encoded(size=(15, 60)), 422, "too_small"),
        (bytes(40_001), 413, "too_many_bytes"),
        (bytes(90_000), 413, "too_many_bytes"),
    ],
)
def test_what_is_wrong_with_a_picture(client: TestClient, data: bytes, status: int, kind: str) -> None:
    problem(ask(client, data), status, kind)


def test_a_server_may_allow_fewer_pixels_than_the_card(bundle: Path) -> None:
    with served(bundle, max_pixels=2399) as (client, _):
        problem(ask(client, encoded()), 413, "too_many_pixels")
    with served(bundle, max_pixels=10**9) as (client, _):
        problem(ask(client, encoded(size=(101, 100))), 413, "too_many_pixels")


def test_too_many_faces(bundle: Path) -> None:
    with served(bundle, max_faces=1) as (client, _):
        assert "2 faces, more than 1" in problem(ask(client, encoded()), 422, "too_many_faces")["detail"]
        assert len(ask(client, encoded(), largest=True).json()["faces"]) == 1


def test_options_that_are_unknown_or_not_allowed(client: TestClient) -> None:
    assert "larges" in problem(ask(client, encoded(), larges=True), 422, "unknown_option")["detail"]
    assert "cropped" in problem(ask(client, encoded(), cropped="perhaps"), 422, "unknown_option")["detail"]


def test_forms_that_cannot_be_used(client: TestClient) -> None:
    problem(client.post("/predict"), 415, "no_upload")
    problem(client.post("/predict", json={"picture": "x"}), 415, "no_upload")
    assert "'photo'" in problem(client.post("/predict", files={"photo": encoded()}), 422, "bad_form")["detail"]
    problem(client.post("/predict", files=[("picture", encoded()), ("picture", encoded())]), 422, "bad_form")
    problem(client.post("/predict", files={"picture": encoded()}, data={"more": "1"}), 422, "bad_form")
    broken = client.post(
        "/predict", content=b"--x\r\nnonsense", headers={"content-type": "multipart/form-data; boundary=x"}
    )
    problem(broken, 422, "bad_form")
    problem(client.post("/predict", content=b"", headers={"content-type": "multipart/form-data"}), 422, "bad_form")


def test_a_body_of_unknown_length_is_stopped_when_it_is_too_large(client: TestClient) -> None:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
        for _ in range(1000):
            sent += 1000
            yield bytes(1000)

    response = client.post("/predict", content=body(), headers={"content-type": "multipart/form-data; boundary=x"})
    problem(response, 413, "too_many_bytes")


def test_other_paths_and_methods_are_problems_too(client: TestClient) -> None:
    problem(client.get("/nothing"), 404, "not_found")
    refused = client.get("/predict")
    problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "POST"


def test_health_and_model(client: TestClient, bundle: Path) -> None:
    found = client.get("/health").json()
    assert (found["alive"], found["ready"], found["bundle"]) == (True, True, "toy on toys")
    assert len(found["digest"]) == 64
    assert client.get("/model").json()["targets"] == ["age", "gender", "race"]


def test_metrics_count_by_route_and_status(client: TestClient) -> None:
    ask(client, encoded())
    ask(client, b"x")
    client.get("/made/up/by/a/client")
    client.request("MADE", "/health")
    text = client.get("/metrics").text
    assert 'faceline_requests_total{method="POST",path="/predict",status="200"} 1.0' in text
    assert 'faceline_requests_total{method="POST",path="/predict",status="415"} 1.0' in text
    assert "made" not in text.lower()
    assert 'faceline_requests_total{method="other",path="/health",status="405"} 1.0' in text
    assert "faceline_batch_pictures_count 1.0" in text
    assert 'faceline_request_seconds_count{path="/predict"} 2.0' in text
    assert "faceline_requests_under_way 1.0" in text  # this one


def test_a_key_is_asked_of_everybody_but_for_health(bundle: Path) -> None:
    with served(bundle, api_key="secret") as (client, _):
        assert client.get("/health").status_code == 200
        for key in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": "sécret".encode()}):
            problem(client.get("/model", headers=key), 401, "unauthorized")
            problem(client.post("/predict", files={"picture": encoded()}, headers=key), 401, "unauthorized")
        refused = client.get("/metrics")
        problem(refused, 401, "unauthorized")
        assert refused.headers["www-authenticate"] == "ApiKey"
        right = {"X-API-Key": "secret"}
        assert client.post("/predict", files={"picture": encoded()}, headers=right).status_code == 200


def test_pages_of_other_origins_may_ask_only_where_they_are_named(bundle: Path) -> None:
    origin = {"Origin": "https://example.org"}
    with served(bundle) as (client, _):
        assert "access-control-allow-origin" not in client.get("/health", headers=origin).headers
    with served(bundle, cors_origins=("https://example.org",)) as (client, _):
        answer = client.get("/health", headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        other = client.get("/health", headers={"Origin": "https://example.com"})
        assert "access-control-allow-origin" not in other.headers
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key"}
        assert client.options("/predict", headers={**origin, **asked}).status_code == 200


def test_nothing_uploaded_goes_to_disk_or_into_the_log(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an upload went to disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    caplog.set_level(logging.DEBUG)
    with served(bundle) as (client, _):
        large = encoded() + bytes(3_000_000)  # what follows a PNG's end is ignored
        assert ask(client, large).status_code == 200
        problem(ask(client, encoded(red=POISON)), 500, "internal_error")
    assert "private.png" not in caplog.text


def test_the_docs_need_no_other_server(client: TestClient) -> None:
    for path in ("/docs", "/redoc"):
        page = client.get(path)
        assert page.status_code == 200
        assert "cdn" not in page.text and 'src="http' not in page.text
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


def test_the_page_for_the_device_is_served_once_it_is_built(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "DEVICE", tmp_path)
    with served(bundle) as (client, _):
        assert client.get("/device/").status_code == 404
    (tmp_path / "index.html").write_text("the page")
    for made in BUILT:
        (tmp_path / made).mkdir()
        if made != BUILT[-1]:
            with served(bundle) as (client, _):
                assert client.get("/device/").status_code == 404
    with served(bundle) as (client, _):
        page = client.get("/device")
        assert (page.text, page.url.path) == ("the page", "/device/")
        assert "script-src 'self' 'wasm-unsafe-eval';" in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-cache"
        assert client.get("/device/../settings.py").status_code == 404
        for name in ("build.py", "__pycache__/build.cpython-311.pyc"):  # a compiled one tells where the server lies
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("a program")
            problem(client.get(f"/device/{name}"), 404, "not_found")


def test_openapi_names_every_answer(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    post = described["paths"]["/predict"]["post"]
    assert post["requestBody"]["content"]["multipart/form-data"]["schema"]["required"] == ["picture"]
    assert {"200", "401", "408", "413", "415", "422", "503"} <= set(post["responses"])
    assert set(post["responses"]["422"]["content"]) == {"application/problem+json"}


def test_an_animation_and_other_formats_are_read(client: TestClient) -> None:
    for kind in ("JPEG", "BMP", "GIF", "WEBP", "TIFF"):
        assert ask(client, encoded(kind=kind, size=(50, 40))).status_code == 200, kind
