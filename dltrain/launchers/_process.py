"""A process of the training on another machine: what an actor of Ray does there. Nothing here imports ray."""

import contextlib
import os
import platform
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("dltrain", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of Python and of what determines a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


class Process:
    """One process of the training, and its host."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lines: queue.Queue[str] = queue.Queue()
        self._started: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def describe(self, folder: str) -> dict[str, object]:
        """Return the versions here, a free port, and whether the folder of the launch exists here."""
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        return {"versions": versions(), "port": port, "host": socket.gethostname(), "folder": Path(folder).is_dir()}

    def start(self, words: Sequence[str], *, environment: Mapping[str, str], folder: str) -> None:
        """Start `dltrain WORDS` in a folder."""
        self._started = subprocess.Popen(
            [sys.executable, "-m", "dltrain", *words],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._started and self._started.stdout
        with self._started.stdout as lines:
            for line in lines:
                self._lines.put(line.decode(errors="replace").rstrip())

    def look(self, seconds: float) -> tuple[list[str], int | None]:
        """Return the lines since the last look, waiting for some, and the exit code if the process has ended."""
        assert self._started and self._reader
        ended = self._started.poll()
        if ended is not None:
            self._reader.join(5)
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._lines.get(timeout=0.01 if ended is not None else seconds))
            while True:
                found.append(self._lines.get_nowait())
        return found, None if ended is None else (ended if ended >= 0 else 128 - ended)

    def signal(self, number: int) -> None:
        """Send a signal to the process if it still runs."""
        if self._started and self._started.poll() is None:
            self._started.send_signal(number)

    def kill(self) -> None:
        """End the process at once."""
        self.signal(signal.SIGKILL)
