"""Callbacks are due at their intervals, and logs are cut to the steps done."""

from types import SimpleNamespace

import pytest
from callback_events import accuracies, chunk_logs, event

from dltrain.callbacks.best import Best
from dltrain.durations import Duration
from dltrain.engine import events as callbacks
from dltrain.engine.events import Every


def every(interval, per_epoch=10, **options):
    return Every(Duration.parse(interval), lambda event: "called", per_epoch=per_epoch, **options)


@pytest.mark.parametrize(
    ("interval", "per_epoch", "due"),
    [
        (7, 10, [7, 14, 21]),
        ("1ep", 10, [10, 20]),
        ("0.5ep", 9, [4, 8, 12, 16, 20, 24]),
        ("0.01ep", 10, range(1, 25)),
    ],
)
def test_every_is_due_by_steps_and_epochs_and_returns_the_next_step(interval, per_epoch, due):
    timed = every(interval, per_epoch)
    assert [s for s in range(1, 25) if timed.is_due(event(s))] == list(due)
    assert [timed.next(s) for s in range(24) if s + 1 in due] == list(due)
    assert timed.next(due[0]) == due[1]


def test_every_is_due_at_the_end_unless_told_otherwise():
    assert every(7).is_due(event(100))
    assert every("2h").is_due(event(100))
    assert not every(7, at_end=False).is_due(event(100))


def test_every_by_time_counts_from_its_last_call(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: now))
    timed = every("2min")
    due = []
    for now in (1000.0, 1119.0, 1121.0, 1200.0, 1240.0, 1242.0):  # noqa: B007 - the clock reads it
        due.append(timed.is_due(event()))
        if due[-1]:
            assert timed(event()) == "called"
    assert due == [False, False, True, False, False, True]
    assert timed.next(5) is None


def test_every_passes_state_through():
    best = Best("validation", "accuracy", True)
    accuracies(best, 0.5)
    other = Best("validation", "accuracy", True)
    Every(Duration(1, ""), other, per_epoch=1).restore(Every(Duration(1, ""), best, per_epoch=1).state())
    assert other.value == 0.5
    assert every(3).state() is None


def test_logs_are_cut_to_the_steps_that_were_done():
    assert {len(v) for v in chunk_logs(5, [1, 1, 1]).logs.values.values()} == {3}
