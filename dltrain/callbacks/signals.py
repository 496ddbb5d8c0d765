"""Ends training cleanly on SIGINT, SIGTERM, or when the terminal closes.

Several processes do not get a signal at the same moment. A process that followed its own at once would leave the
others in a chunk that waits for it for ever. So each only notes its own, and follows what all have agreed on.
"""

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
        self.received: signal.Signals | None = None  # what ends training; several processes agree on it
        self._own: signal.Signals | None = None  # what this process got
        self._advice, self._first = advice, 0.0
        self._lasting: contextlib.ExitStack | None = None

    def __call__(self, event: TrainEvent) -> None:
        """Stop training if a signal has arrived, in any process."""
        del event
        self.agree()
        if self.received:
            raise StopTraining(f"interrupted by {self.received.name}")

    def agree(self) -> None:
        """Let several processes agree on the signal that any of them has got; each has to call this."""
        if hosts.count() > 1 and (name := hosts.agreed_signal(self._own.name if self._own else None)):
            self.received = signal.Signals[name]

    @contextlib.contextmanager
    def caught(self) -> Generator[None]:
        """Catch the signals while training; does nothing outside the main thread, which alone can.

        A process that was told to ignore SIGHUP (nohup) goes on ignoring it. Processes that end together go on
        catching them: the signal of another one may have ended training, and that of this one is still to come.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed before, and lost.
        """
        check_interrupted()
        with contextlib.ExitStack() as stack:
            stack.enter_context(handling(self._receive, signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
            yield
            if self.received and hosts.count() > 1:
                self._lasting = stack.pop_all()  # kept, since a stack that nobody has puts the handlers back

    def _receive(self, number: int, frame: Any) -> None:
        del frame
        if self._own is None:
            self._own, self._first = signal.Signals(number), time.monotonic()
            if hosts.count() == 1:
                self.received = self._own
            _say("stopping after this chunk; again to quit now")
        elif time.monotonic() - self._first > SAME_PRESS:
            _say(f"quit without saving{self._advice}")
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def _say(text: str) -> None:
    """Print on stderr from a signal handler: without Python's streams, which may be in the middle of a line."""
    with contextlib.suppress(OSError):
        os.write(2, f"{chr(10) if os.isatty(2) else ''}dltrain: {text}\n".encode())
