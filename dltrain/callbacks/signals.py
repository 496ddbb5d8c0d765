"""Ends training cleanly on SIGINT and SIGTERM."""

import contextlib
import signal
import threading
from collections.abc import Generator
from typing import Any

from dltrain.engine.events import StopTraining, TrainEvent


class Signals:
    """Ends training after the chunk in which SIGINT or SIGTERM arrives; a second signal ends the process."""

    def __init__(self) -> None:
        """Start without a received signal."""
        self.received: signal.Signals | None = None

    def __call__(self, event: TrainEvent) -> None:
        """Stop training if a signal has arrived."""
        del event
        if self.received:
            raise StopTraining(f"interrupted by {self.received.name}")

    @contextlib.contextmanager
    def caught(self) -> Generator[None]:
        """Catch the two signals while training; does nothing outside the main thread, which alone can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._receive) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: Any) -> None:
        del frame
        self.received = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL)
