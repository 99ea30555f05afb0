"""A long epoch says how far it is, a short one nothing."""

import pytest

from faceline.learning import pace
from faceline.learning.pace import Pace


def lines(monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[str]:
    """What is said of an epoch of 10 batches of 16 that take so many seconds each."""
    said: list[str] = []
    now = 100.0
    monkeypatch.setattr(pace.time, "monotonic", lambda: now)
    watched = Pace("compact-age", 3, 10, 16, said.append)
    watched.begin()
    for done in range(1, 11):
        now += seconds
        watched.step(2, done, 1.25)
    assert watched.seconds == pytest.approx(10 * seconds)
    return said


def test_a_long_epoch_has_a_line_every_half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    said = lines(monkeypatch, 8)
    assert said == [
        "compact-age: epoch 2/3, step 4/10, loss 1.250, 2 pictures/s, 48 s left of the epoch",
        "compact-age: epoch 2/3, step 8/10, loss 1.250, 2 pictures/s, 16 s left of the epoch",
    ]


def test_a_short_epoch_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(monkeypatch, 2.9) == []
