"""Draws figures in a process of its own, while this one does other work: matplotlib holds the lock of Python.

There is at most one such process, and none until `start` is called: then figures are drawn in this one.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from typing import Any

from dltrain.plots.plot import Plot, pngs_of

SERVE = "import sys; sys.path[:] = {path!r}; from dltrain.plots.artist import serve; serve()"


class Artist:
    """A process that draws figures; it ends with this one, also if this one is killed."""

    def __init__(self) -> None:
        """Start it; it imports matplotlib meanwhile.

        Raises:
            OSError: no process could be started.
        """
        self._drawing = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what fails there is drawn here again, and reported
            start_new_session=True,  # Ctrl-C in the terminal is for the process that waits for the figures
        )

    def draw(self, plots: Mapping[str, Plot]) -> dict[str, bytes] | None:
        """Return the figures as PNG, name -> bytes; None if they cannot be sent, or drawn there."""
        assert self._process.stdin and self._process.stdout
        with self._drawing:
            try:
                self._process.stdin.write(pickle.dumps(dict(plots)))
                self._process.stdin.flush()
                return pickle.load(self._process.stdout)
            except (OSError, EOFError, pickle.PickleError, AttributeError, TypeError, ValueError):
                return None  # it has ended, or a value cannot be pickled
            except BaseException:  # Ctrl-C: a later answer must not be taken for that to another question
                self.close()
                raise

    def close(self) -> None:
        """End it, and wait until it has ended."""
        assert self._process.stdin and self._process.stdout
        self._process.kill()  # it has nothing to lose
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()


_artists: list[Artist] = []
_starting = threading.Lock()


def start() -> None:
    """Draw in a process of its own from now on; if none can be started, in this one as before."""
    with _starting, contextlib.suppress(OSError):
        if not _artists:
            _artists.append(Artist())


@contextlib.contextmanager
def leaving() -> Generator[None]:
    """Draw in this process again when that is left."""
    try:
        yield
    finally:
        with _starting:
            while _artists:
                _artists.pop().close()


def draw_pngs(plots: Mapping[str, Plot]) -> dict[str, bytes]:
    """Draw figures as PNG, in dltrain's style: name -> bytes."""
    artist = next(iter(_artists), None)
    found = artist.draw(plots) if artist and plots and all(one.portable for one in plots.values()) else None
    return pngs_of(plots) if found is None else found


def serve() -> None:
    """Draw what comes on the standard input, until that ends."""
    import dltrain.plots.curves  # noqa: F401  which takes half a second, before there is something to draw

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not write into the answers
    with contextlib.suppress(EOFError, OSError):
        while True:
            found: Any = None
            plots = pickle.load(sys.stdin.buffer)
            with contextlib.suppress(Exception):  # drawn again by the other process, which reports the error
                found = pngs_of(plots)
            answers.write(pickle.dumps(found))
            answers.flush()
