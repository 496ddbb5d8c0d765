"""What a process does about signals, and differently while a command starts: it collects no garbage then.

Almost all objects that imports create stay to the end, and Python looks through all of them again and again: 0.8 s
of the 6.7 s of a run of 9 steps (2 cores, Python 3.11).
"""

import contextlib
import gc
import signal
import threading
from collections.abc import Callable, Generator
from typing import Any

INTERRUPTED = threading.Event()
"""Set by Ctrl-C before a run trains: a library may swallow the exception and go on, or fail later with its own."""

_paused = False


def pause_collection() -> None:
    """Collect no garbage until `resume_collection`."""
    global _paused  # of the process, as the collector is
    _paused = True
    gc.disable()


def resume_collection() -> None:
    """Collect garbage again, except among the objects that exist; change nothing if it was not paused."""
    global _paused
    if _paused:
        _paused = False
        gc.freeze()
        gc.enable()


def check_interrupted() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed, and something swallowed it."""
    if INTERRUPTED.is_set():
        raise KeyboardInterrupt


@contextlib.contextmanager
def handling(handler: Callable[[int, Any], None], *numbers: signal.Signals) -> Generator[None]:
    """Handle these signals; does nothing outside the main thread, which alone can.

    A process that was told to ignore SIGHUP (nohup) goes on ignoring it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ignores = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    mine = [number for number in numbers if not (ignores and number == signal.SIGHUP)]
    before = {number: signal.signal(number, handler) for number in mine}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
