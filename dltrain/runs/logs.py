"""The logs of other libraries, which go to the train.log of each run that is trained meanwhile."""

import contextlib
import logging
import threading
from collections.abc import Callable, Generator, Sequence

from dltrain.errors import LIBRARIES, THIRD_PARTY


@contextlib.contextmanager
def logs_to(note: Callable[[str], None]) -> Generator[None]:
    """Give warnings and errors of other libraries to `note` instead of the terminal.

    Runs may train in threads: each of them gets what is logged, since a library's own threads belong to none.
    """
    import absl.logging  # the logger of Orbax; must be imported before it is looked up by name

    handler = _Noting(note)
    loggers = [absl.logging.get_absl_logger(), *map(logging.getLogger, (*THIRD_PARTY, *LIBRARIES))]
    _SILENCE.begin(loggers)
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        _SILENCE.end()


class _Noting(logging.Handler):
    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        self._note(self.format(record))


class _Silence:
    """Keeps loggers from the terminal from the first to the last of the runs that train at the same time."""

    def __init__(self) -> None:
        self._lock, self._runs = threading.Lock(), 0
        self._before: list[tuple[logging.Logger, bool]] = []

    def begin(self, loggers: Sequence[logging.Logger]) -> None:
        with self._lock:
            self._runs += 1
            if self._runs > 1:
                return
            self._before = [(logger, logger.propagate) for logger in loggers]
            for logger in loggers:
                logger.propagate = logger.propagate and logger.name in LIBRARIES

    def end(self) -> None:
        with self._lock:
            self._runs -= 1
            for logger, propagate in () if self._runs else self._before:
                logger.propagate = propagate


_SILENCE = _Silence()
