"""From an encoded picture to its answer: limits first, then decoding, then the engine; and the bundle that answers."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from faceline.errors import FacelineError, PictureError
from faceline.faces.decoding import decode, dimensions
from faceline.files import digest
from faceline.learning.bundle import Predictor
from faceline.learning.card import Card
from serving.answers import PictureAnswer
from serving.engine import Engine, Question
from serving.metrics import Metrics
from serving.problems import ProblemError, failed, overloaded, unusable
from serving.room import Room
from serving.settings import ServeSettings

Read = TypeVar("Read")
log = logging.getLogger("uvicorn.error")
WARM_UP = (256, 256)  # pixels; of the picture with which a bundle is tried before it answers anybody


class Service:
    """Answers pictures with a bundle, within limits.

    Args:
        settings: of the server.
        open_predictor: gives the predictor of a bundle's folder.
    """

    def __init__(
        self,
        settings: ServeSettings,
        open_predictor: Callable[[Path], Predictor] = Predictor,
    ):
        self.settings = settings
        self.metrics = Metrics()
        self._open = open_predictor
        self._engine: Engine | None = None
        self._waiting = 0  # requests whose pictures are here
        self._bytes = 0  # of uploads, held at the moment
        self._room = Room(settings.pixels_in_memory)
        # Of its own: pictures that take their time must not keep the server from opening a bundle anew.
        self._readers = ThreadPoolExecutor(thread_name_prefix="reader")
        self._opening = asyncio.Lock()
        self.metrics.uploads.set_function(lambda: self._bytes)
        self.digest: str | None = None

    @property
    def ready(self) -> bool:
        """Whether pictures are answered."""
        return self._engine is not None

    @property
    def card(self) -> Card:
        """The card of the bundle that answers; ProblemError while there is none."""
        return self._running().predictor.card

    async def start(self) -> None:
        """Open the bundle and try it; BundleError where it cannot be used."""
        async with self._opening:
            predictor, self.digest = await asyncio.to_thread(self._opened)
            self._engine = Engine(predictor, self.settings, self.metrics.batches.observe)
            log.info("%s is ready, SHA-256 %s", self.settings.bundle, self.digest)

    async def reload(self) -> bool:
        """Go on with what the bundle's folder holds now; with the old one, and False, where that cannot be used."""
        async with self._opening:
            try:
                predictor, found = await asyncio.to_thread(self._opened)
            except (FacelineError, OSError) as error:
                log.error("the bundle was not reloaded: %s", error)
                return False
            if self._engine is None:  # it was stopped meanwhile
                return False
            self._engine.predictor, self.digest = predictor, found
            log.info("reloaded %s, SHA-256 %s", self.settings.bundle, self.digest)
            return True

    async def stop(self) -> None:
        """Answer what is under way, then end."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await asyncio.to_thread(engine.close)
        self._readers.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[Callable[[int], None]]:
        """Around a request; what it gives is to be told of each byte of the upload before it is kept.

        Nothing waits for room and none is kept free for bytes to come: who sends slowly, or goes away, takes no more
        than what was sent, and requests that are half there cannot block each other.

        Raises:
            ProblemError: too many requests wait for answers, or uploads take all the room.
        """
        self._require_turn()
        held = 0

        def hold(more: int) -> None:
            nonlocal held
            if self._bytes + more > self.settings.bytes_in_memory:
                raise overloaded(f"uploads take the {self.settings.bytes_in_memory} bytes that there is room for")
            self._bytes += more
            held += more

        try:
            yield hold
        finally:
            self._bytes -= held

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Around the answer to a request whose pictures are here; ProblemError where too many wait for theirs."""
        self._require_turn()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def answer(self, data: bytes, *, cropped: bool, largest: bool) -> PictureAnswer:
        """The faces of an encoded picture.

        Raises:
            ProblemError: the picture cannot be used, it takes too long, or it makes the server fail.
        """
        try:
            async with asyncio.timeout(self.settings.answer_timeout):
                return await self._answer(data, cropped=cropped, largest=largest)
        except PictureError as error:
            raise unusable(error) from None
        except TimeoutError:
            raise overloaded(f"no answer within {self.settings.answer_timeout:g} s", "timeout") from None
        except ProblemError:
            raise
        except Exception:
            log.exception("a picture could not be answered")
            raise failed() from None

    async def _answer(self, data: bytes, *, cropped: bool, largest: bool) -> PictureAnswer:
        engine = self._running()
        limits = engine.predictor.card.decode
        most = min(limits.max_pixels, self.settings.max_pixels or limits.max_pixels)
        reading = partial(self._read, data, max_pixels=most, min_side=limits.min_side)
        with engine.announced():
            width, height = await reading(dimensions)
        give_back = await self._room.take(width * height)
        with engine.announced():
            picture = await reading(decode, or_else=give_back)
        return await engine.answer(Question(picture, cropped=cropped, largest=largest), let_go=give_back)

    async def _read(
        self, data: bytes, read: Callable[..., Read], or_else: Callable[[], None] = lambda: None, **limits: int
    ) -> Read:
        """What `read` makes of an encoded picture, by a thread; `or_else` is called at the end where it gives nothing.

        A thread cannot be stopped: where nobody waits any more the end is later than this.
        """
        reading = self._readers.submit(read, data, **limits)
        try:
            return await asyncio.wrap_future(reading)
        except BaseException:
            reading.add_done_callback(lambda _: or_else())
            raise

    def _opened(self) -> tuple[Predictor, str]:
        """The predictor of the bundle as it is on disk, tried once so that no request waits for it, and its digest."""
        found = digest(self.settings.bundle)
        predictor = self._open(self.settings.bundle)
        blank = np.zeros((*WARM_UP, 3), np.uint8)
        predictor.answer([*predictor.find([blank]), predictor.whole(blank)])
        return predictor, found

    def _require_turn(self) -> None:
        self._running()
        if self._waiting >= self.settings.max_waiting:
            raise overloaded(f"{self._waiting} requests are under way already")

    def _running(self) -> Engine:
        if self._engine is None:
            raise overloaded("it is starting or stopping", "not_ready")
        return self._engine
