"""Ends training cleanly on SIGINT, SIGTERM, or when the terminal closes."""

import contextlib
import os
import signal
import time
from collections.abc import Generator
from typing import Any

from dltrain.devices import hosts
from dltrain.engine.events import StopTraining, TrainEvent
from dltrain.startup import check_interrupted, handling

SAME_PRESS = 0.3  # seconds in which a second signal is the same key press, which a wrapper has passed on again


class Signals:
    """Ends training after the chunk in which a signal arrives; a second signal ends the process."""

    def __init__(self, advice: str = "") -> None:
        """Start without a received signal; `advice` is printed when a second one ends the process."""
        self.received: signal.Signals | None = None
        self._advice, self._first = advice, 0.0

    def __call__(self, event: TrainEvent) -> None:
        """Stop training if a signal has arrived, in any process."""
        del event
        if name := hosts.agreed_signal(self.received.name if self.received else None):
            self.received = signal.Signals[name]
        if self.received:
            raise StopTraining(f"interrupted by {self.received.name}")

    @contextlib.contextmanager
    def caught(self) -> Generator[None]:
        """Catch the signals while training; does nothing outside the main thread, which alone can.

        A process that was told to ignore SIGHUP (nohup) goes on ignoring it.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed before, and lost.
        """
        check_interrupted()
        with handling(self._receive, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            yield

    def _receive(self, number: int, frame: Any) -> None:
        del frame
        if self.received is None:
            self.received, self._first = signal.Signals(number), time.monotonic()
            _say("stopping after this chunk; again to quit now")
        elif time.monotonic() - self._first > SAME_PRESS:
            _say(f"quit without saving{self._advice}")
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def _say(text: str) -> None:
    """Print on stderr from a signal handler: without Python's streams, which may be in the middle of a line."""
    with contextlib.suppress(OSError):
        os.write(2, f"{chr(10) if os.isatty(2) else ''}dltrain: {text}\n".encode())
