"""The web page in a headless Chromium, at desk and phone size, beside `faceline serve` with the project's bundle."""

import base64
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from faceline.datasets.labels import Gender, Race
from faceline.datasets.sample.picture import Shot, Sitter, take
from serving.page import FILES, SAMPLES
from tests.e2e.test_serve import BUNDLE, ask, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Without the network: Chromium would look for its maker's hosts at every start. The camera is a film of ours.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
MINUTES = 120_000  # milliseconds
MOST = 200_000  # bytes that the server takes
TARGET = 44  # CSS pixels a side of what fingers press

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: `apt-get install chromium`"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(BUNDLE, tmp_path_factory.mktemp("log") / "log", "--max-bytes", str(MOST)) as (_, url):
        httpx.get(f"{url}/page/", timeout=MINUTES / 1000)  # Gradio is imported
        yield url


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person who does not exist and does not move, as a film of one frame: what the camera sees."""
    picture = Image.new("RGB", (640, 480), (120, 140, 130))
    picture.paste(take(Shot((7,), 480, (Sitter((7, 0), 34, Gender.FEMALE, Race.INDIAN),))), (80, 0))
    planes = picture.convert("YCbCr").split()
    halves = [plane.resize((320, 240)).tobytes() for plane in planes[1:]]
    path = tmp_path_factory.mktemp("film") / "person.y4m"
    path.write_bytes(b"YUV4MPEG2 W640 H480 F10:1 Ip A1:1 C420\nFRAME\n" + planes[0].tobytes() + b"".join(halves))
    return path


@pytest.fixture(scope="module")
def context(url: str, film: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser with a profile of its own: private windows install nothing."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        args = [*OPTIONS, f"--use-file-for-fake-video-capture={film}"]
        opened = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=CHROMIUM, args=args, viewport=DESK
        )
        opened.set_default_timeout(MINUTES)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def opened(context: Any, url: str) -> Any:
    """The page, with what it complained of and whom it asked."""
    page = context.new_page()
    page.problems, page.requests = [], []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda said: page.problems.append(said.text) if said.type in ("error", "warning") else None)
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(url)
    page.locator("#faceline:not([inert])").wait_for()
    return page


@pytest.fixture
def page(opened: Any, url: str) -> Iterator[Any]:
    """The page at desk size; nothing was asked of another host, and nothing went wrong that was not expected."""
    opened.set_viewport_size(DESK)
    opened.problems.clear()
    yield opened
    assert opened.problems == []
    assert [asked for asked in opened.requests if not asked.startswith((url, f"blob:{url}", "data:"))] == []


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=92, **options)
    return buffer.getvalue()


def sample(number: int) -> bytes:
    return (FILES / SAMPLES[number]["file"]).read_bytes()


def found(page: Any) -> list[str]:
    """The faces that the page lists, once it has an answer."""
    page.locator("#result:not([aria-busy])").wait_for()
    page.locator("#status", has_text="found").or_(page.locator("#error:not([hidden])")).first.wait_for()
    assert not page.get_by_role("alert").is_visible(), page.get_by_role("alert").text_content()
    return [" ".join(item.split()) for item in page.locator("#faces li").all_text_contents()]


def wanted(url: str, data: bytes) -> list[str]:
    """The same from the API."""
    told = []
    for number, face in enumerate(ask(url, data).json()["faces"], 1):
        age, gender, race = face["age"], face["gender"], face["race"]
        told.append(
            f"Face {number}Age {age['years']:.0f} {age['low']:.0f} to {age['high']:.0f} years"
            f"Gender {gender['label']} {share(gender)}Race {race['label']} {share(race)}"
            f"found with {int(face['score'] * 100 + 0.5)} %"
        )
    return told


def share(label: dict[str, Any]) -> str:
    return f"{int(label['probability'] * 100 + 0.5)} %"


def handed(page: Any, event: str, *pictures: bytes) -> None:
    """Drop or paste a picture, or several one right after the other."""
    page.evaluate(
        """([event, pictures]) => {
            for (const encoded of pictures) {
                const given = new DataTransfer();
                const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
                given.items.add(new File([bytes], "x.jpg", { type: "image/jpeg" }));
                const options = { bubbles: true, cancelable: true, dataTransfer: given, clipboardData: given };
                const kind = event === "paste" ? ClipboardEvent : DragEvent;
                document.querySelector("#view").dispatchEvent(new kind(event, options));
            }
        }""",
        [event, [base64.b64encode(data).decode() for data in pictures]],
    )


def choose(page: Any, data: bytes, name: str = "x.jpg", kind: str = "image/jpeg") -> None:
    page.get_by_label("Choose a picture").set_input_files({"name": name, "mimeType": kind, "buffer": data})


def test_a_picture_is_chosen_dropped_or_pasted(page: Any, url: str) -> None:
    for number, give in enumerate([choose, *(lambda p, d, e=event: handed(p, e, d) for event in ("drop", "paste"))]):
        give(page, sample(number))
        lines = found(page)
        assert lines == wanted(url, sample(number))
        assert len(lines) >= 1
        assert page.locator("#boxes rect").count() == len(lines)


def test_a_sample_is_taken_and_a_face_lit_by_the_keyboard(page: Any, url: str) -> None:
    page.get_by_role("button", name="Sample: a boy and a woman").focus()
    with page.expect_response("**/predict*"):
        page.keyboard.press("Enter")
    assert found(page) == wanted(url, sample(2))
    assert page.locator("#status").text_content() == "2 faces were found."
    page.get_by_role("button", name="Face 1").focus()
    lit = page.locator("#boxes g.lit text")
    assert lit.text_content().startswith("1: ")
    page.keyboard.press("Tab")
    assert lit.text_content().startswith("2: ")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    assert lit.count() == 1 and page.get_by_role("button", name="Face 2", pressed=True).count() == 1


@pytest.mark.parametrize("answer", [None, 503])
def test_a_sample_that_cannot_be_fetched_is_told(page: Any, answer: int | None) -> None:
    page.route("**/files/sample-*", lambda route: route.fulfill(status=answer) if answer else route.abort(), times=1)
    page.get_by_role("button", name="Sample: a boy and a woman").click()
    page.get_by_role("alert").wait_for()
    assert page.get_by_role("alert").text_content() == "The server cannot be reached."
    page.get_by_role("button", name="Sample: a boy and a woman").click()
    assert len(found(page)) == 2
    assert all("Failed to load resource" in told for told in page.problems)  # the browser's own word on it
    page.problems.clear()


def test_a_slow_sample_does_not_replace_a_picture_chosen_after_it(page: Any, url: str) -> None:
    held = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/files/sample-*", hold, times=1)
    page.get_by_role("button", name="Sample: a boy and a woman").click()
    choose(page, sample(0))
    assert found(page) == wanted(url, sample(0))
    (slow,) = held
    slow.continue_()
    page.wait_for_timeout(1000)
    assert found(page) == wanted(url, sample(0))


def test_what_becomes_of_a_picture_is_not_told_over_the_next(page: Any, url: str) -> None:
    handed(page, "drop", b"no picture" * MOST, sample(0))
    assert found(page) == wanted(url, sample(0))
    page.wait_for_timeout(500)
    assert found(page) == wanted(url, sample(0))
    assert page.locator("#picture").is_visible()


def test_the_largest_face_alone_and_the_picture_with_boxes(page: Any, url: str) -> None:
    choose(page, sample(2))
    assert len(found(page)) == 2
    page.get_by_role("checkbox", name="Largest face only").check()
    page.locator("#faces li").nth(1).wait_for(state="detached")
    assert len(found(page)) == 1
    page.get_by_role("checkbox", name="Largest face only").uncheck()
    page.locator("#faces li").nth(1).wait_for()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save with boxes").click()
    pixels = np.asarray(Image.open(saved.value.path()), int)
    apart = np.abs(pixels - np.asarray(Image.open(io.BytesIO(sample(2))), int)).max(axis=2)
    assert pixels.shape == (320, 640, 3)
    assert 0.01 < (apart > 60).mean() < 0.2  # boxes and numbers


def test_the_camera_at_phone_size(page: Any) -> None:
    page.set_viewport_size(PHONE)
    page.get_by_role("button", name="Use the camera").click()
    page.wait_for_function("document.querySelector('#video').videoWidth === 640")
    page.get_by_role("button", name="Take the picture").click()
    assert len(found(page)) == 1
    assert page.evaluate("document.querySelector('#video').srcObject.active") is False
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for pressed in page.locator("#faceline button:visible, #faceline .button:visible, #faceline .choice").all():
        assert pressed.bounding_box()["height"] >= TARGET, pressed.text_content()
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Close the camera").wait_for()
    page.keyboard.press("Escape")
    assert not page.get_by_role("group", name="Camera").is_visible()


def test_the_camera_begins_anew(page: Any) -> None:
    choose(page, sample(0))
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Close the camera").wait_for()
    page.get_by_role("checkbox", name="Largest face only").check()  # of the picture that will be taken
    assert page.get_by_role("group", name="Camera").is_visible()
    page.get_by_role("button", name="Close the camera").click()
    page.get_by_role("checkbox", name="Largest face only").uncheck()
    page.wait_for_timeout(500)
    assert page.get_by_text("Drop or paste a picture here").is_visible()
    assert not page.locator("#picture").is_visible() and page.locator("#faces li").count() == 0
    assert page.locator("#status").text_content() == "The camera is off."


def test_no_camera_stays_on_that_was_asked_for_twice(page: Any) -> None:
    asked = """async () => {
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices), streams = [];
        navigator.mediaDevices.getUserMedia = async (what) => { streams.push(await ask(what)); return streams.at(-1); };
        const press = (name) => document.querySelector(`#${name}`).click();
        const until = async (done) => { while (!done()) await new Promise((next) => setTimeout(next, 50)); };
        press("open"), press("open");
        await until(() => streams.length === 2 && !document.querySelector("#camera").hidden);
        const on = streams.filter(({ active }) => active).length;
        press("close");
        navigator.mediaDevices.getUserMedia = ask;
        return [on, streams.filter(({ active }) => active).length];
    }"""
    assert page.evaluate(asked) == [1, 0]


def test_a_large_picture_is_made_smaller_and_stays_upright(page: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the camera was turned by a quarter
    noise = np.random.default_rng(1).integers(0, 256, (700, 700, 3)).astype(np.uint8)  # many bytes
    photo = Image.new("RGB", (2800, 2000), "grey")
    photo.paste(take(Shot((7,), 1200, (Sitter((7, 0), 34, Gender.FEMALE, Race.INDIAN),))).rotate(90), (200, 200))
    photo.paste(Image.fromarray(noise), (2050, 100))
    data = jpeg(photo, exif=exif)
    assert len(data) > MOST
    choose(page, data)
    assert len(found(page)) == 1
    told = re.search(r"It was sent as a JPEG of (\d+)×(\d+) pixels\.", page.locator("#status").text_content())
    assert told
    width, height = map(int, told.groups())
    assert width < height < 2800
    box = page.locator("#boxes rect").evaluate(
        "(box) => ['x', 'y', 'width', 'height'].map((name) => +box.getAttribute(name))"
    )
    middle = (box[0] + box[2] / 2) / width, (box[1] + box[3] / 2) / height
    assert middle == pytest.approx((1200 / 2000, 800 / 2800), abs=0.06)  # of the turned photo


@pytest.mark.parametrize("status", [413, 408])  # too large, or too slow on its way
def test_a_picture_is_made_smaller_until_it_is_taken(page: Any, status: int) -> None:
    photo = Image.new("RGB", (1000, 700), "grey")
    photo.paste(take(Shot((7,), 500, (Sitter((7, 0), 34, Gender.FEMALE, Race.INDIAN),))), (200, 100))
    problem = {"title": "So it cannot go on", "detail": "so it is", "status": status}
    page.route("**/predict*", lambda route: route.fulfill(status=status, json=problem), times=2)
    choose(page, jpeg(photo))
    assert len(found(page)) == 1
    assert "It was sent as a JPEG of 700×490 pixels." in page.locator("#status").text_content()
    assert all(str(status) in told for told in page.problems)  # the browser's own word on it
    page.problems.clear()


def test_what_is_no_key_is_told(page: Any, url: str) -> None:
    asked = """async (address) => {
        const { ask } = await import(address);
        const options = { most: 1e6, key: "“key”", largest: false, signal: new AbortController().signal };
        return ask(new Blob(["x"]), options).catch(({ message, status }) => [message, status]);
    }"""
    told = page.evaluate(asked, f"{url}/page/files/asking.js")
    assert told == ["This cannot be the key: it has a character that no key has.", 401]


def test_what_is_refused_is_told(page: Any) -> None:
    choose(page, b"hello", "x.txt", "text/plain")
    page.get_by_role("alert").get_by_text("This is not a picture: 5 bytes of no known format.").wait_for()
    assert page.get_by_role("list", name="Faces").count() == 0
    assert all("415" in told for told in page.problems)
    page.problems.clear()


def test_a_busy_server_is_asked_again_and_a_key_is_asked_for(page: Any, url: str) -> None:
    refusals = iter([(503, "The server is busy", {"Retry-After": "0"}), (401, "A key is needed", {})])

    def refuse(route: Any) -> None:
        status, title, headers = next(refusals)
        problem = {"title": title, "detail": "so it is", "status": status}
        route.fulfill(status=status, json=problem, headers=headers)

    page.route("**/predict*", refuse, times=2)
    choose(page, sample(0))
    page.get_by_role("alert").get_by_text("A key is needed: so it is.").wait_for()
    page.problems.clear()
    choose(page, sample(0))
    assert found(page) == wanted(url, sample(0))


def test_what_took_the_server_too_long_is_not_asked_again(page: Any) -> None:
    asked = []

    def refuse(route: Any) -> None:
        asked.append(route.request.url)
        problem = {"type": "urn:faceline:timeout", "title": "The server is busy", "detail": "no answer", "status": 503}
        route.fulfill(status=503, json=problem, headers={"Retry-After": "0"})

    page.route("**/predict*", refuse)
    choose(page, sample(0))
    page.get_by_role("alert").get_by_text("The server is busy: no answer.").wait_for()
    page.unroute("**/predict*")
    assert len(asked) == 1
    page.problems.clear()


def test_what_shines_through_is_saved_white(page: Any) -> None:
    picture = Image.open(io.BytesIO(sample(0))).convert("RGBA")
    picture.putalpha(Image.new("L", picture.size, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 40, 40))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    choose(page, buffer.getvalue(), "x.png", "image/png")
    found(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save with boxes").click()
    assert np.asarray(Image.open(saved.value.path()))[:20, :20].min() > 240


def test_what_can_be_used_has_a_name(page: Any) -> None:
    client = page.context.new_cdp_session(page)
    nodes = client.send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "checkbox", "textbox", "image", "list", "Video"}
    seen = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored") and node["role"]["value"] in roles
    ]
    assert [role for role, name in seen if not name.strip()] == []
    assert ("button", "Use the camera") in seen and ("checkbox", "Largest face only") in seen
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1 and page.locator("main").count() == 1


def test_it_can_be_installed(page: Any) -> None:
    client = page.context.new_cdp_session(page)
    manifest = client.send("Page.getAppManifest")
    assert manifest["url"].endswith("/page/files/manifest.webmanifest") and manifest["errors"] == []
    assert client.send("Page.getInstallabilityErrors")["installabilityErrors"] == []
