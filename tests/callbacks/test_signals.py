"""Signals to several processes: all end after the same chunk, and one that comes late quits none of them."""

import os
import signal
from collections.abc import Generator

import pytest

from dltrain.callbacks.signals import Signals
from dltrain.devices import hosts
from dltrain.engine.events import StopTraining


class Others:
    """Stands in for the other processes: what they answer in turn, and what they were told."""

    def __init__(self, *answers: str | None) -> None:
        self.answers, self.told = list(answers), []
        self.meanwhile = lambda: None  # is called before the answer

    def agreed_signal(self, received: str | None) -> str | None:
        self.told.append(received)
        self.meanwhile()
        return self.answers.pop(0)


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Generator[Others]:
    """A process of two; signals that would end it are noted in `quits` instead."""
    found = Others()
    found.quits = []
    monkeypatch.setattr(hosts, "count", lambda: 2)
    monkeypatch.setattr(hosts, "agreed_signal", found.agreed_signal)
    monkeypatch.setattr(os, "kill", lambda process, number: found.quits.append(number))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_that_comes_while_the_processes_decide_counts_at_the_next_decision(others: Others) -> None:
    others.answers = [None, "SIGTERM"]
    others.meanwhile = lambda: others.told == [None] and signal.raise_signal(signal.SIGTERM)
    signals = Signals()
    with signals.caught():
        signals(None)  # the others go on, so this one has to
        assert signals.received is None
        with pytest.raises(StopTraining, match="interrupted by SIGTERM"):
            signals(None)
    assert others.told == [None, "SIGTERM"]


def test_a_signal_after_the_last_decision_is_not_followed_by_one_process_alone(others: Others) -> None:
    others.answers = [None]
    signals = Signals()
    with signals.caught():
        signals.agree()
        signal.raise_signal(signal.SIGTERM)
    assert signals.received is None


def test_the_signal_of_another_process_does_not_make_the_own_one_a_second(others: Others) -> None:
    others.answers = ["SIGTERM"]
    signals = Signals()
    with signals.caught(), pytest.raises(StopTraining):
        signals(None)
    signal.raise_signal(signal.SIGTERM)  # this process still waits for the others to save
    assert others.quits == []
    signals._first -= 1
    signal.raise_signal(signal.SIGTERM)
    assert others.quits == [signal.SIGTERM]


def test_a_single_process_follows_its_own_signal_and_handles_none_afterwards() -> None:
    before, signals = signal.getsignal(signal.SIGTERM), Signals()
    with signals.caught():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(StopTraining, match="interrupted by SIGTERM"):
            signals(None)
    assert signals.received is signal.SIGTERM and signal.getsignal(signal.SIGTERM) is before
