"""One thread that owns the detector and the networks, and answers the pictures of many requests together.

While it is busy, pictures queue up; it then takes all that wait. When it is idle it starts at once, unless others are
announced: those it waits for, a few milliseconds. So one client alone waits for nobody, and many share the networks.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from faceline.faces.decoding import Pixels
from faceline.learning.bundle import FaceAnswer, Framed, Predictor
from serving.answers import PictureAnswer, picture_answer
from serving.problems import ProblemError
from serving.settings import ServeSettings


@dataclass(frozen=True)
class Question:
    """A decoded picture, RGB uint8 (height, width, 3), and what is asked of it."""

    picture: Pixels
    cropped: bool = False  # it is one face already
    largest: bool = False  # the face with the largest box alone


@dataclass
class _Job:
    question: Question | None  # None: nobody waits for the answer any more
    future: Future[PictureAnswer] = field(default_factory=Future)


class Engine:
    """Answers questions with the predictor that it has at the time.

    Args:
        predictor: of the bundle.
        settings: `batch_pictures`, `batch_wait` and `max_faces`.
        observe: called with the number of pictures of each batch.
    """

    def __init__(self, predictor: Predictor, settings: ServeSettings, observe: Callable[[int], None]):
        self.predictor = predictor
        self._settings = settings
        self._observe = observe
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._announced = 0  # pictures that will come soon; changed by the event loop's thread alone
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @contextmanager
    def announced(self) -> Iterator[None]:
        """Around all that comes before `answer` of one picture."""
        self._announced += 1
        try:
            yield
        finally:
            self._announced -= 1

    async def answer(self, question: Question) -> PictureAnswer:
        """The answer to one question.

        Raises:
            ProblemError: the picture has too many faces.
        """
        job = _Job(question)
        self._jobs.put(job)
        try:
            return await asyncio.wrap_future(job.future)
        finally:
            if job.future.cancelled():
                job.question = None  # the queue still has the job, and would keep its picture in memory

    def close(self) -> None:
        """Answer what is queued, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while batch := self._batch():
            waiting = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if waiting:
                self._observe(len(waiting))
                self._settle(waiting)

    def _batch(self) -> list[_Job]:
        """All that waits, up to a batch; the next to come where nothing does. Empty: the end."""
        job = self._jobs.get()
        if job is None:
            return []
        batch, deadline = [job], time.monotonic() + self._settings.batch_wait
        while len(batch) < self._settings.batch_pictures:
            try:
                # What was announced and is not here yet is worth a moment.
                patience = max(0.0, deadline - time.monotonic()) if self._announced > 0 else 0.0
                job = self._jobs.get(timeout=patience) if patience else self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)  # for the next call, when this batch is done
                break
            batch.append(job)
        return batch

    def _settle(self, batch: Sequence[_Job]) -> None:
        """Answer a batch; one picture that makes it fail must not cost the others."""
        try:
            results = self._answers([job.question for job in batch if job.question])
        except Exception as error:  # noqa: BLE001 - who asked is given it
            if len(batch) > 1:
                for job in batch:
                    self._settle([job])
            else:
                batch[0].future.set_exception(error)
            return
        for job, result in zip(batch, results, strict=True):
            if isinstance(result, ProblemError):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)

    def _answers(self, questions: Sequence[Question]) -> list[PictureAnswer | ProblemError]:
        predictor = self.predictor  # the same for the whole batch, whatever a reload does meanwhile
        found = iter(predictor.find([question.picture for question in questions if not question.cropped]))
        framed = [predictor.whole(question.picture) if question.cropped else next(found) for question in questions]
        most = self._settings.max_faces
        asked = [_largest(item) if question.largest else item for question, item in zip(questions, framed, strict=True)]
        fair = [item for item in asked if len(item.faces) <= most]
        answers: Iterator[list[FaceAnswer]] = iter(predictor.answer(fair))
        return [
            picture_answer(item, next(answers), predictor.card) if len(item.faces) <= most else _too_many(item, most)
            for item in asked
        ]


def _largest(framed: Framed) -> Framed:
    """The face with the largest box alone; of several the one with the highest score, which is the first."""
    largest = sorted(framed.faces, key=lambda face: -face.width * face.height)[:1]
    return Framed(framed.picture, largest, framed.crop)


def _too_many(framed: Framed, most: int) -> ProblemError:
    detail = f"{len(framed.faces)} faces, more than {most}; ask for the largest alone, or send a part of the picture"
    return ProblemError(422, "too_many_faces", "The picture has too many faces", detail)
