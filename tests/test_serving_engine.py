"""Under load: what is answered together, what is turned away, and what a bundle that changes does to requests."""

import asyncio
import concurrent.futures
import contextlib
import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from faceline.faces.decoding import Pixels, decode, dimensions
from faceline.faces.detection import Face
from faceline.learning.bundle import FaceAnswer, Framed, Predictor
from serving.answers import PictureAnswer
from serving.app import create_app
from serving.engine import Engine, Question
from serving.problems import ProblemError
from serving.room import Room
from serving.service import Service
from serving.settings import ServeSettings
from tests.serving import POISON, Held, encoded, held, served
from tests.toy_bundle import Finds, write_toy_bundle

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
Pool = concurrent.futures.ThreadPoolExecutor


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_bundle(tmp_path_factory.mktemp("engine") / "bundle")


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(16) as pool:
        yield pool


def ask(client: TestClient, data: bytes, **options: Any) -> Any:
    return client.post("/predict", files={"picture": data}, params=options)


def close(a: Any, b: Any) -> bool:
    """Whether two answers are the same but for rounding, which other pictures in the batch may change."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    return bool(a == pytest.approx(b, abs=1e-4))


def hold(client: TestClient, service: Service, pool: Pool) -> "concurrent.futures.Future[Any]":
    """A request that the predictor is busy with until it is let go."""
    predictor = held(service)
    predictor.go.clear()
    predictor.entered.clear()
    first = pool.submit(ask, client, encoded())
    assert predictor.entered.wait(60)
    return first


def together(
    predictor: Predictor, questions: Sequence[Question], **settings: Any
) -> list[PictureAnswer | BaseException]:
    """What an engine gives for questions that come at once: answers, or what is raised."""
    options = ServeSettings(bundle=Path("none"), batch_wait=1, batch_pictures=len(questions), **settings)
    engine = Engine(predictor, options, lambda pictures: None)

    async def at_once() -> list[PictureAnswer | BaseException]:
        with engine.announced():
            return await asyncio.gather(*map(engine.answer, questions), return_exceptions=True)

    try:
        return asyncio.run(at_once())
    finally:
        engine.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what must come."""
    waiting = threading.Event()
    for _ in range(6000):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it never came")


def test_what_waits_is_answered_together(bundle: Path, pool: Pool) -> None:
    with served(bundle) as (client, service):
        first = hold(client, service, pool)
        others = [pool.submit(ask, client, encoded(seed)) for seed in range(7)]
        until(lambda: service._engine is not None and service._engine._jobs.qsize() == 7)
        held(service).go.set()
        answers = [other.result().json() for other in [first, *others]]
        assert held(service).batches[-2:] == [1, 7]
        alone = [ask(client, data).json() for data in (encoded(), *map(encoded, range(7)))]
        assert all(map(close, answers, alone))


@pytest.mark.parametrize(("announced", "batches"), [(True, [2]), (False, [1, 1])])
def test_an_idle_engine_waits_for_pictures_that_are_announced(
    bundle: Path, announced: bool, batches: list[int]
) -> None:
    predictor = Held(bundle)
    engine = Engine(predictor, ServeSettings(bundle=bundle, batch_wait=1), lambda pictures: None)
    question = Question(np.zeros((40, 60, 3), np.uint8))

    async def two_in_turn() -> None:
        with engine.announced() if announced else contextlib.nullcontext():
            first = asyncio.ensure_future(engine.answer(question))
            await asyncio.sleep(0.2 if announced else 0)
            if not announced:
                await first
            second = asyncio.ensure_future(engine.answer(question))
            await asyncio.gather(first, second)

    asyncio.run(two_in_turn())
    engine.close()
    assert predictor.batches == batches


def test_a_batch_has_a_limit(bundle: Path, pool: Pool) -> None:
    with served(bundle, batch_pictures=3) as (client, service):
        first = hold(client, service, pool)
        others = [pool.submit(ask, client, encoded(seed)) for seed in range(7)]
        until(lambda: service._engine is not None and service._engine._jobs.qsize() == 7)
        held(service).go.set()
        assert all(other.result().status_code == 200 for other in [first, *others])
        assert held(service).batches[-4:] == [1, 3, 3, 1]


class Answers(Predictor):
    """A predictor with the toy detector, of two faces a picture, that says how many pictures it answers together."""

    def __init__(self, path: Path):
        super().__init__(path, Finds())
        self.asked: list[int] = []

    def answer(self, framed: Sequence[Framed]) -> list[list[FaceAnswer]]:
        self.asked.append(len(framed))
        if any(item.picture[0, 0, 0] == POISON for item in framed):
            raise RuntimeError("poison")
        return super().answer(framed)


@pytest.mark.parametrize(
    ("faces", "portions"), [(64, [5]), (10, [5]), (9, [4, 1]), (4, [2, 2, 1]), (3, [1] * 5), (1, [1] * 5)]
)
def test_no_more_faces_than_the_limit_go_through_the_networks_together(
    bundle: Path, faces: int, portions: list[int]
) -> None:
    predictor = Answers(bundle)
    questions = [Question(np.full((40, 60, 3), 50 + value, np.uint8)) for value in range(5)]
    answers = together(predictor, questions, batch_faces=faces)
    assert predictor.asked == portions
    for question, answer in zip(questions, answers, strict=True):
        (alone,) = together(predictor, [question])
        assert isinstance(answer, PictureAnswer) and isinstance(alone, PictureAnswer)
        assert close(answer.model_dump(), alone.model_dump())


def test_faces_that_the_networks_fail_on_do_not_cost_the_others(bundle: Path) -> None:
    questions = [Question(np.full((40, 60, 3), value, np.uint8)) for value in (99, POISON, 120)]
    first, second, third = together(Answers(bundle), questions)
    assert isinstance(second, RuntimeError)
    assert isinstance(first, PictureAnswer) and isinstance(third, PictureAnswer)


def test_the_first_of_a_batch_are_answered_before_its_rest_and_who_gives_up_is_left_out(bundle: Path) -> None:
    """Or a batch that takes longer than anybody waits would be worked on in vain, and so would the next."""
    going = threading.Event()

    class Halts(Answers):
        def answer(self, framed: Sequence[Framed]) -> list[list[FaceAnswer]]:
            if self.asked:
                going.wait(60)
            return super().answer(framed)

    predictor = Halts(bundle)
    options = ServeSettings(bundle=bundle, batch_wait=1, batch_pictures=4, batch_faces=2)
    engine = Engine(predictor, options, lambda pictures: None)

    async def give_up_the_third() -> None:
        with engine.announced():
            asked = [
                asyncio.ensure_future(engine.answer(Question(np.full((40, 60, 3), 50 + value, np.uint8))))
                for value in range(4)
            ]
            await asked[0]
        asked[2].cancel()
        await asyncio.sleep(0)  # so that the engine's future is cancelled too
        going.set()
        await asyncio.gather(asked[1], asked[3])

    asyncio.run(give_up_the_third())
    engine.close()
    assert predictor.asked == [1, 1, 0, 1]


def test_a_picture_that_fails_does_not_cost_the_others(bundle: Path, pool: Pool) -> None:
    with served(bundle) as (client, service):
        first = hold(client, service, pool)
        bad = pool.submit(ask, client, encoded(red=POISON))
        good = [pool.submit(ask, client, encoded(seed)) for seed in range(3)]
        until(lambda: service._engine is not None and service._engine._jobs.qsize() == 4)
        held(service).go.set()
        assert bad.result().status_code == 500
        assert "poison" not in bad.result().text
        assert [answer.result().status_code for answer in [first, *good]] == [200] * 4


def test_a_picture_that_fails_does_not_cost_the_others_of_its_request(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = [("pictures", data) for data in (encoded(1), encoded(red=POISON), encoded(2))]
    with served(bundle) as (client, service):
        first, second, third = client.post("/predict/batch", files=files).json()["pictures"]
        assert second["type"] == "urn:faceline:internal_error"
        assert len(first["faces"]) == len(third["faces"]) == 2
        assert service._bytes == 0
        until(lambda: service._room.taken == 0)
    assert caplog.text.count("a picture could not be answered") == 1
    assert "RuntimeError: poison" in caplog.text


def test_one_request_too_many_is_turned_away(bundle: Path, pool: Pool) -> None:
    with served(bundle, max_waiting=2) as (client, service):
        waiting = [hold(client, service, pool), pool.submit(ask, client, encoded())]
        until(lambda: service._waiting == 2)
        refused = ask(client, encoded())
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["type"] == "urn:faceline:overloaded"
        assert client.post("/predict/batch", files={"pictures": encoded()}).status_code == 503
        assert client.get("/health").status_code == 200
        held(service).go.set()
        assert [answer.result().status_code for answer in waiting] == [200, 200]
        assert ask(client, encoded()).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(bundle: Path, pool: Pool) -> None:
    with served(bundle, answer_timeout=0.2) as (client, service):
        first = hold(client, service, pool)
        assert first.result().json()["type"] == "urn:faceline:timeout"
        assert first.result().headers["retry-after"] == "1"
        held(service).go.set()
        until(lambda: ask(client, encoded()).status_code == 200)


def test_a_picture_that_nobody_waits_for_is_let_go_at_once(bundle: Path, pool: Pool) -> None:
    with served(bundle, answer_timeout=0.5) as (client, service):
        first = hold(client, service, pool)
        late = pool.submit(ask, client, encoded(1))
        assert service._engine is not None
        queued = service._engine._jobs
        until(lambda: queued.qsize() == 1)
        assert late.result().status_code == 503
        job = queued.get()
        assert job is not None and job.take() is None
        held(service).go.set()
        first.result()


@pytest.mark.parametrize("red", [0, POISON])
def test_an_idle_engine_keeps_no_picture(bundle: Path, red: int) -> None:
    engine = Engine(Held(bundle), ServeSettings(bundle=bundle), lambda pictures: None)
    gone = threading.Event()

    async def one() -> None:
        picture = np.full((40, 60, 3), red, np.uint8)
        weakref.finalize(picture, gone.set)
        with contextlib.suppress(RuntimeError):
            await engine.answer(Question(picture))

    asyncio.run(one())
    gc.collect()
    assert gone.wait(60)  # the engine's thread may need a moment until it waits again
    engine.close()


def test_pictures_wait_for_room_in_memory(bundle: Path, pool: Pool) -> None:
    with served(bundle, pixels_in_memory=5000) as (client, service):
        first = hold(client, service, pool)
        others = [pool.submit(ask, client, encoded(seed)) for seed in range(3)]  # of 2,400 pixels each
        until(lambda: service._waiting == 4)
        until(lambda: service._room.taken == 4800)
        held(service).go.set()
        assert [answer.result().status_code for answer in [first, *others]] == [200] * 4
        assert ask(client, encoded(size=(100, 60))).status_code == 200  # more than all the room: alone
        until(lambda: service._room.taken == 0)


def test_room_is_taken_until_nobody_has_the_picture_any_more(bundle: Path, pool: Pool) -> None:
    """Or pictures that were given up, and are worked on all the same, would add to those that come after."""
    with served(bundle, answer_timeout=0.2, batch_pictures=1) as (client, service):
        first, queued = hold(client, service, pool), pool.submit(ask, client, encoded(1))  # of 2,400 pixels each
        assert [answer.result().json()["type"] for answer in (first, queued)] == ["urn:faceline:timeout"] * 2
        until(lambda: service._room.taken == 2400)  # the predictor has the first
        assert not held(service).go.is_set()
        held(service).go.set()
        until(lambda: service._room.taken == 0)


def test_room_is_taken_until_a_thread_has_done_with_a_picture(
    bundle: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = threading.Event()

    def slow(data: bytes, **limits: int) -> Pixels:
        going.wait(60)
        return decode(data, **limits)

    monkeypatch.setattr("serving.service.decode", slow)
    with served(bundle, answer_timeout=0.2) as (client, service):
        assert ask(client, encoded()).json()["type"] == "urn:faceline:timeout"
        assert service._room.taken == 2400
        going.set()
        until(lambda: service._room.taken == 0)


def test_pictures_that_are_being_read_keep_no_bundle_from_being_opened(
    bundle: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = threading.Event()

    def slow(data: bytes, **limits: int) -> tuple[int, int]:
        going.wait(60)
        return dimensions(data, **limits)

    monkeypatch.setattr("serving.service.dimensions", slow)
    with served(bundle, answer_timeout=60, max_pictures=16) as (client, service):
        files = [("pictures", encoded(seed)) for seed in range(16)]
        asked = [pool.submit(client.post, "/predict/batch", files=files) for _ in range(4)]  # more than threads
        until(lambda: service._waiting == 4)
        assert client.portal is not None
        try:
            assert client.portal.start_task_soon(service.reload).result(30)
        finally:
            going.set()
        assert [answer.result().status_code for answer in asked] == [200] * 4


def test_who_goes_away_is_waited_for_no_longer(bundle: Path) -> None:
    request = httpx.Request("POST", "http://here/predict", files={"picture": encoded()})
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}
    said: list[Any] = []

    async def go_away() -> None:
        service = Service(ServeSettings(bundle=bundle, answer_timeout=60), Held)
        await service.start()
        held(service).go.clear()
        held(service).entered.clear()
        left = asyncio.Event()
        body = iter([{"type": "http.request", "body": request.read(), "more_body": False}])

        async def receive() -> Any:
            for message in body:
                return message
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            said.append(message)

        asked = asyncio.ensure_future(create_app(service)(scope, receive, send))
        await asyncio.to_thread(held(service).entered.wait, 60)
        assert service._waiting == 1
        left.set()
        async with asyncio.timeout(30):
            await asked
        assert service._waiting == service._bytes == 0
        held(service).go.set()
        await service.stop()

    asyncio.run(go_away())
    assert said[0]["status"] == 400 and b"cut_off" in said[1]["body"]


def test_all_that_fit_get_in_when_a_large_picture_leaves() -> None:
    async def two_in_turn() -> None:
        room = Room(100)
        leave = await room.take(100)
        waiting = [asyncio.ensure_future(room.take(50)) for _ in range(2)]
        await asyncio.sleep(0.01)
        assert room.taken == 100
        leave()
        async with asyncio.timeout(5):
            await asyncio.gather(*waiting)
        assert room.taken == 100

    asyncio.run(two_in_turn())


def test_small_pictures_do_not_overtake_a_large_one() -> None:
    async def three_in_turn() -> None:
        room, order = Room(100), list[int]()

        async def enter(pixels: int) -> None:
            leave = await room.take(pixels)
            order.append(pixels)
            leave()

        leave = await room.take(50)
        waiting = [asyncio.ensure_future(enter(pixels)) for pixels in (90, 10, 20)]
        await asyncio.sleep(0.01)
        assert order == []
        waiting[0].cancel()  # who gives up leaves the turn to the next
        await asyncio.sleep(0.01)
        assert order == [10, 20]
        leave()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(three_in_turn())


def test_a_bundle_is_tried_before_it_answers_and_given_up_when_the_app_ends(bundle: Path) -> None:
    with served(bundle) as (client, service):
        assert held(service).batches == [1]
        assert ask(client, encoded()).status_code == 200
        assert service._engine is not None and service._engine._announced == 0
    assert not service.ready


def test_a_picture_with_too_many_faces_does_not_shift_the_answers_of_others(bundle: Path) -> None:
    noisy, blank = (Question(np.full((40, 60, 3), value, np.uint8)) for value in (99, 0))
    refused, answered = together(Held(bundle), [noisy, blank], max_faces=1)
    assert isinstance(refused, ProblemError)
    assert isinstance(answered, PictureAnswer) and answered.faces == []


def test_the_largest_face_is_that_of_the_largest_area(bundle: Path) -> None:
    wide, high, largest = Face(0, 0, 50, 10, 0.99), Face(0, 0, 10, 38, 0.98), Face(5, 5, 25, 25, 0.97)

    class FindsThree:
        def detect(self, pictures: Sequence[Pixels]) -> list[list[Face]]:
            return [[wide, high, largest] for _ in pictures]

    (answer,) = together(Predictor(bundle, FindsThree()), [Question(np.full((40, 60, 3), 99, np.uint8), largest=True)])
    assert isinstance(answer, PictureAnswer)
    assert [(face.box.width, face.box.height) for face in answer.faces] == [(25, 25)]


def test_a_reload_changes_the_bundle_between_requests(tmp_path: Path, pool: Pool) -> None:
    path = write_toy_bundle(tmp_path / "bundle")
    with served(path) as (client, service):
        assert client.portal is not None
        old, before = held(service), service.digest
        first = hold(client, service, pool)
        path.rename(tmp_path / "old")
        write_toy_bundle(path, "age")
        assert client.portal.call(service.reload) is True
        old.go.set()
        assert first.result().json()["faces"][0]["gender"] is not None  # by the bundle that it came to
        assert ask(client, encoded()).json()["faces"][0]["gender"] is None
        assert client.get("/model").json()["targets"] == ["age"]
        assert client.get("/health").json()["digest"] == service.digest != before


def test_a_bundle_that_cannot_be_used_is_not_taken(tmp_path: Path) -> None:
    path = write_toy_bundle(tmp_path / "bundle")
    with served(path) as (client, service):
        assert client.portal is not None
        before = service.digest
        next(path.glob("*.keras")).write_bytes(b"damaged")
        assert client.portal.call(service.reload) is False
        (path / "card.json").unlink()
        (path / "card.json").mkdir()  # an error of the system, as of a disk
        assert client.portal.call(service.reload) is False
        assert service.digest == before
        assert ask(client, encoded()).status_code == 200


def test_a_server_that_has_stopped_takes_up_nothing(bundle: Path) -> None:
    with served(bundle) as (client, service):
        assert client.portal is not None
        client.portal.call(service.stop)
        assert client.portal.call(service.reload) is False
        assert not service.ready
        assert ask(client, encoded()).json()["type"] == "urn:faceline:not_ready"


def test_what_is_under_way_is_answered_before_it_stops(bundle: Path, pool: Pool) -> None:
    with served(bundle) as (client, service):
        assert client.portal is not None
        predictor = held(service)
        first = hold(client, service, pool)
        second = pool.submit(ask, client, encoded())
        until(lambda: service._engine is not None and service._engine._jobs.qsize() == 1)
        stopping = client.portal.start_task_soon(service.stop)
        until(lambda: not service.ready)
        health = client.get("/health")
        assert (health.status_code, health.json()["alive"], health.json()["ready"]) == (503, True, False)
        assert ask(client, encoded()).json()["type"] == "urn:faceline:not_ready"
        with pytest.raises(TimeoutError):
            stopping.result(0.3)
        predictor.go.set()
        stopping.result()
        assert [first.result().status_code, second.result().status_code] == [200, 200]


def test_it_is_alive_before_it_is_ready(bundle: Path) -> None:
    service = Service(ServeSettings(bundle=bundle), Held)
    with TestClient(create_app(service)) as client:
        assert client.get("/health").json() == {
            "alive": True, "ready": False, "bundle": None, "digest": None, "version": "0.1.0",
        }  # fmt: skip
        assert client.post("/predict").status_code == 503  # before anything is read
