"""The page that predicts in the browser, built as `make device` does, in a headless Chromium beside `Predictor`."""

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

from faceline.datasets.labels import Gender, Race
from faceline.datasets.sample.picture import Shot, Sitter, take
from faceline.learning.bundle import FaceAnswer, Predictor
from serving.device.build import PAGE, build
from tests.imports import ROOT

BUNDLE = ROOT / "models/pretrained/utkface"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PICTURES = 50
OVERLAP, YEARS, PROBABILITY = 0.9, 1.0, 0.02  # least intersection over union; largest differences
# Without the network: Chromium would look for its maker's hosts at every start.
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")
MINUTES = 60_000  # milliseconds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: `apt-get install chromium`"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js with npm, which brings ONNX Runtime Web"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page in Chromium, its networks loaded; it cannot reach anything any more."""
    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("page") / "device"
    shutil.copytree(PAGE, folder, ignore=shutil.ignore_patterns("vendor", "models", "__pycache__"))
    build(folder, BUNDLE)
    with served(folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        opened = browser.new_page(viewport={"width": 390, "height": 844})
        opened.problems, opened.requests = [], []
        opened.on("pageerror", lambda error: opened.problems.append(str(error)))
        opened.on("console", lambda said: opened.problems.append(said.text) if said.type == "error" else None)
        opened.on("request", lambda request: opened.requests.append(request.url))
        opened.goto(f"{address}/index.html")
        opened.get_by_text("Ready.").wait_for(timeout=3 * MINUTES)
        opened.context.set_offline(True)
        assert all(url.startswith(address) for url in opened.requests)
        opened.requests.clear()
        yield opened
        browser.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of that folder's files, on this machine only."""
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing of each file."""

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


def chosen(page: Any, data: bytes, kind: str = "image/jpeg") -> dict[str, Any]:
    """What the page says of a picture that is chosen."""
    page.get_by_label("Choose a picture").set_input_files({"name": "picture", "mimeType": kind, "buffer": data})
    page.get_by_role("region", name="Result").wait_for(state="visible", timeout=MINUTES)
    found: dict[str, Any] = json.loads(page.locator("#json").text_content())
    return found


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


def rendered(number: int) -> Image.Image:
    """One or two people who do not exist, at 160 to 405 pixels."""
    sitters = [
        Sitter((number, place), 4 + (number * 13 + place * 31) % 80, Gender(number % 2), Race((number + place) % 5))
        for place in range(1 + (number % 5 == 0))
    ]
    return take(Shot((number,), 160 + 5 * number, tuple(sitters)))


def overlap(ours: FaceAnswer, box: dict[str, int]) -> float:
    """Intersection over union."""
    face = ours.face
    width = min(face.x + face.width, box["x"] + box["width"]) - max(face.x, box["x"])
    height = min(face.y + face.height, box["y"] + box["height"]) - max(face.y, box["y"])
    shared = max(0, width) * max(0, height)
    return shared / (face.width * face.height + box["width"] * box["height"] - shared)


def compare(ours: list[FaceAnswer], theirs: list[dict[str, Any]]) -> dict[str, float]:
    """The worst of a picture; every face has its fellow."""
    assert len(ours) == len(theirs)
    worst = {"overlap": 1.0, "years": 0.0, "probability": 0.0}
    for answer in ours:
        found = max(theirs, key=lambda face: overlap(answer, face["box"]))
        worst["overlap"] = min(worst["overlap"], overlap(answer, found["box"]))
        assert (
            answer.age is not None and answer.race_probabilities is not None and answer.female_probability is not None
        )
        worst["years"] = max(worst["years"], abs(answer.age - found["age"]["years"]))
        apart = np.subtract(answer.race_probabilities, list(found["race"]["probabilities"].values()))
        female = abs(answer.female_probability - found["gender"]["probabilities"]["female"])
        worst["probability"] = max(worst["probability"], female, float(np.abs(apart).max()))
    return worst


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(BUNDLE)


def test_the_page_answers_as_the_server_does(page: Any, predictor: Predictor) -> None:
    faces = 0
    for number in range(PICTURES):
        data = jpeg(rendered(number))
        ours = predictor.predict([data])[0]
        worst = compare(ours, chosen(page, data)["faces"])
        assert worst["overlap"] >= OVERLAP, number
        assert worst["years"] <= YEARS, number
        assert worst["probability"] <= PROBABILITY, number
        faces += len(ours)
    assert faces >= PICTURES
    assert page.problems == []
    assert not any(url.startswith("http") for url in page.requests)


def test_a_photo_is_turned_upright_and_alpha_lies_on_white(page: Any, predictor: Predictor) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the camera was turned by a quarter
    lying = jpeg(rendered(3).transpose(Image.Transpose.ROTATE_90), exif=exif)
    see_through = rendered(4).convert("RGBA")
    see_through.putalpha(Image.linear_gradient("L").resize(see_through.size))
    buffer = io.BytesIO()
    see_through.save(buffer, "PNG")
    for data, kind in ((lying, "image/jpeg"), (buffer.getvalue(), "image/png")):
        ours = predictor.predict([data])[0]
        assert ours
        worst = compare(ours, chosen(page, data, kind)["faces"])
        assert worst["overlap"] >= OVERLAP
        assert worst["years"] <= YEARS


def test_a_large_photo_is_searched_in_tiles(page: Any, predictor: Predictor) -> None:
    photo = Image.new("RGB", (1501, 1100), (90, 110, 100))
    for number, corner in enumerate([(40, 30), (600, 420), (1050, 560)]):
        photo.paste(rendered(number + 30), corner)
    data = jpeg(photo)
    ours = predictor.predict([data])[0]
    assert len(ours) >= 3
    worst = compare(ours, chosen(page, data)["faces"])
    assert worst["overlap"] >= OVERLAP
    assert worst["years"] <= YEARS


def test_faces_are_listed_and_drawn(page: Any) -> None:
    found = chosen(page, jpeg(rendered(5)))["faces"]
    assert page.get_by_role("status").text_content() == f"{len(found)} faces were found."
    items = page.get_by_role("list", name="Faces").get_by_role("listitem").all_text_contents()
    assert [item.split(";")[0] for item in items] == [
        "age {years:.0f} ({low:.0f} to {high:.0f})".format(**face["age"]) for face in found
    ]
    assert page.locator("#boxes rect").count() == len(found)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]  # nothing to scroll sideways to on a phone


def test_a_page_that_was_not_built_says_so_and_stays_with_it(page: Any, tmp_path: Path) -> None:
    shutil.copytree(PAGE, tmp_path / "device", ignore=shutil.ignore_patterns("vendor", "models", "__pycache__"))
    with served(tmp_path / "device") as address:
        unbuilt = page.context.browser.new_page()
        unbuilt.goto(f"{address}/index.html")
        said = unbuilt.get_by_role("alert").get_by_text("the page was not built")
        said.wait_for(timeout=MINUTES)
        picture = {"name": "x.jpg", "mimeType": "image/jpeg", "buffer": jpeg(rendered(1))}
        unbuilt.get_by_label("Choose a picture").set_input_files(picture)
        unbuilt.wait_for_timeout(500)
        assert said.is_visible() and unbuilt.get_by_role("status").text_content() == ""
        unbuilt.close()


def test_a_picture_can_be_chosen_by_the_keyboard_alone(page: Any) -> None:
    choosers: list[Any] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # noqa: PLW0108 - Playwright marks what it is given
    page.locator("body").click(position={"x": 1, "y": 1})
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    for _ in range(30):  # Chromium may not listen for the chooser yet when the first key comes
        page.keyboard.press("Enter")
        page.wait_for_timeout(1000)
        if choosers:
            break
    choosers[0].set_files({"name": "x.jpg", "mimeType": "image/jpeg", "buffer": jpeg(rendered(1))})
    page.get_by_text("1 face was found.").wait_for(timeout=MINUTES)


def test_what_is_no_picture_and_what_has_no_face_are_told(page: Any) -> None:
    page.get_by_label("Choose a picture").set_input_files(
        {"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"<html>"}
    )
    page.get_by_role("alert").get_by_text("not a picture that the browser can read").wait_for(timeout=MINUTES)
    assert chosen(page, jpeg(Image.new("RGB", (200, 100), "grey")))["faces"] == []
    assert page.get_by_role("status").text_content() == "No face was found."
    assert not page.get_by_role("alert").is_visible()
