"""How far an epoch is: a line now and then, so that a long one is no silence and a log file no flood."""

import time
from collections.abc import Callable
from dataclasses import dataclass

EVERY = 30.0  # seconds between two lines


@dataclass
class Pace:
    """The pace of one network's training.

    Attributes:
        steps, batch_size: batches an epoch, rows a batch.
        say: is told a line.
        every: seconds between two lines; a shorter epoch has none.
    """

    name: str
    epochs: int
    steps: int
    batch_size: int
    say: Callable[[str], None]
    every: float = EVERY
    started: float = 0.0  # seconds, of a clock that only rises
    told: float = 0.0

    def begin(self) -> None:
        """An epoch begins."""
        self.started = self.told = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the epoch began."""
        return time.monotonic() - self.started

    def step(self, epoch: int, done: int, loss: float) -> None:
        """`done` batches of an epoch, both counted from 1, are done; `loss` is their mean."""
        if done == self.steps or time.monotonic() - self.told < self.every:
            return
        self.told = time.monotonic()
        taken = self.seconds
        rate, left = done * self.batch_size / taken, taken / done * (self.steps - done)
        where = f"{self.name}: epoch {epoch}/{self.epochs}, step {done}/{self.steps}"
        self.say(f"{where}, loss {loss:.3f}, {rate:.0f} pictures/s, {left:.0f} s left of the epoch")
