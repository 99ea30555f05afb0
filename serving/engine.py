"""One thread that owns the detector and the networks, and answers the pictures of many requests together.

While it is busy, pictures queue up; it then takes all that wait, and gives the networks some of their faces at a time,
so that the first need not wait for the last. When it is idle it starts at once, unless others are announced: those it
waits for, a few milliseconds. So one client alone waits for nobody, and many share the networks.
"""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from faceline.faces.decoding import Pixels
from faceline.learning.bundle import Framed, Predictor
from serving.answers import PictureAnswer, picture_answer
from serving.problems import ProblemError
from serving.settings import ServeSettings


@dataclass(frozen=True)
class Question:
    """A decoded picture, RGB uint8 (height, width, 3), and what is asked of it."""

    picture: Pixels
    cropped: bool = False  # it is one face already
    largest: bool = False  # the face with the largest box alone


class _Job:
    """A question, what becomes of it, and what is called when nobody here has its picture any more."""

    def __init__(self, question: Question, let_go: Callable[[], None]):
        self.future: Future[PictureAnswer] = Future()
        self.let_go = let_go
        self._questions = [question]

    def take(self) -> Question | None:
        """The question, which the job then holds no longer; None where it was taken before, by whichever thread."""
        try:
            return self._questions.pop()
        except IndexError:
            return None

    def give_up(self) -> None:
        """Nobody waits for the answer any more: let the picture go, unless it is being worked on."""
        if self.take():
            self.let_go()


_Found = tuple[_Job, Framed | Exception]  # the faces of the job's picture, or why it gets no answer
Asked = TypeVar("Asked")
Given = TypeVar("Given")


class Engine:
    """Answers questions with the predictor that it has at the time.

    Args:
        predictor: of the bundle.
        settings: `batch_pictures`, `batch_faces`, `batch_wait` and `max_faces`.
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

    async def answer(self, question: Question, let_go: Callable[[], None] = lambda: None) -> PictureAnswer:
        """The answer to one question; `let_go` is called once, by whichever thread, when its picture is let go.

        Raises:
            ProblemError: the picture has too many faces.
        """
        job = _Job(question, let_go)
        self._jobs.put(job)
        try:
            return await asyncio.wrap_future(job.future)
        finally:
            if job.future.cancelled():
                job.give_up()  # the queue still has the job, and would keep its picture in memory

    def close(self) -> None:
        """Answer what is queued, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while batch := self._batch():
            self._settle(*_taken(batch))
            del batch  # else a job that failed would keep its picture, by the frames of the exception, until the next

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

    def _settle(self, jobs: Sequence[_Job], questions: list[Question]) -> None:
        """Answer a batch, some faces at a time: who is first need not wait for all, nor for those who have given up.

        A picture is let go when it is answered: `questions` is emptied, and no list keeps what a portion has had.
        """
        if not jobs:
            return
        self._observe(len(jobs))
        predictor = self.predictor  # the same for the whole batch, whatever a reload does meanwhile
        framed = deque(_each(partial(self._framed, predictor), questions))
        questions.clear()
        found = ((job, framed.popleft()) for job in jobs)
        for portion in _portions(found, self._settings.batch_faces):
            _give(predictor, portion)
            for job, _ in portion:
                job.let_go()

    def _framed(self, predictor: Predictor, questions: Sequence[Question]) -> list[Framed | ProblemError]:
        """Each picture with the faces that are asked for; a problem where those are too many."""
        found = iter(predictor.find([question.picture for question in questions if not question.cropped]))
        framed = [predictor.whole(question.picture) if question.cropped else next(found) for question in questions]
        asked = [_largest(item) if question.largest else item for question, item in zip(questions, framed, strict=True)]
        most = self._settings.max_faces
        return [item if len(item.faces) <= most else _too_many(item, most) for item in asked]


def _taken(batch: Sequence[_Job]) -> tuple[list[_Job], list[Question]]:
    """The jobs that somebody waits for, and their questions, which the jobs hold no longer."""
    jobs, questions = list[_Job](), list[Question]()
    for job in batch:
        question = job.take()
        if question:
            jobs.append(job)
            questions.append(question)
    return jobs, questions


def _give(predictor: Predictor, portion: Sequence[_Found]) -> None:
    """Answer those of a portion who still wait."""
    wanted = [(job, item) for job, item in portion if job.future.set_running_or_notify_cancel()]
    fair = [item for _, item in wanted if isinstance(item, Framed)]
    answers = iter(_each(partial(_answers, predictor), fair))
    for job, item in wanted:
        result = next(answers) if isinstance(item, Framed) else item
        if isinstance(result, Exception):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)


def _answers(predictor: Predictor, framed: Sequence[Framed]) -> list[PictureAnswer]:
    return [
        picture_answer(item, faces, predictor.card)
        for item, faces in zip(framed, predictor.answer(framed), strict=True)
    ]


def _each(work: Callable[[Sequence[Asked]], Sequence[Given]], items: Sequence[Asked]) -> Sequence[Given | Exception]:
    """What `work` gives for each of the items; where one makes it fail, its exception does not cost the others."""
    try:
        return work(items)
    except Exception as error:  # noqa: BLE001 - who asked is given it
        return [error] if len(items) == 1 else [given for item in items for given in _each(work, [item])]


def _portions(batch: Iterable[_Found], faces: int) -> Iterator[list[_Found]]:
    """A batch in parts of at most so many faces, or of one picture with more."""
    portion, held = list[_Found](), 0
    for job, item in batch:
        more = len(item.faces) if isinstance(item, Framed) else 0
        if portion and held + more > faces:
            yield portion
            portion, held = [], 0
        portion.append((job, item))
        held += more
    yield portion


def _largest(framed: Framed) -> Framed:
    """The face with the largest box alone; of several the one with the highest score, which is the first."""
    largest = sorted(framed.faces, key=lambda face: -face.width * face.height)[:1]
    return Framed(framed.picture, largest, framed.crop)


def _too_many(framed: Framed, most: int) -> ProblemError:
    detail = f"{len(framed.faces)} faces, more than {most}; ask for the largest alone, or send a part of the picture"
    return ProblemError(422, "too_many_faces", "The picture has too many faces", detail)
