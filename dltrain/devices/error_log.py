"""Where messages of C++ libraries go while several processes train: to a file, not to the console."""

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TextIO


class ErrorLog:
    """What C++ libraries print, in a file; the streams of Python go on where they were."""

    def __init__(self) -> None:
        """Send descriptors 1 and 2 to a temporary file."""
        self._real = os.dup(1), os.dup(2)
        self._before = sys.stdout, sys.stderr
        sys.stdout.flush()
        with tempfile.TemporaryFile() as file:
            self._divert(file.fileno())
        sys.stdout, sys.stderr = (_stream(descriptor) for descriptor in self._real)

    def take_output(self) -> None:
        """Write all that this process prints into the log, too; only `say` reaches the user."""
        sys.stdout = sys.stderr = _stream(2)

    def say(self, text: str) -> None:
        """Print a message where the user sees it, also from a signal handler."""
        for descriptor in (self._real[1], 2):
            with contextlib.suppress(OSError):
                os.write(descriptor, f"dltrain: {text}\n".encode())

    def move(self, path: Path) -> None:
        """Go on in the file of a process in the run folder."""
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        os.lseek(2, 0, os.SEEK_SET)
        while block := os.read(2, 65536):
            os.write(opened, block)
        self._divert(opened)
        os.close(opened)
        if sys.stdout is sys.stderr:
            self.take_output()

    def close(self) -> None:
        """Put descriptors and streams back."""
        for descriptor, real in enumerate(self._real, 1):
            os.dup2(real, descriptor)
        sys.stdout, sys.stderr = self._before

    @staticmethod
    def _divert(descriptor: int) -> None:
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)


def _stream(descriptor: int) -> TextIO:
    return os.fdopen(os.dup(descriptor), "w", buffering=1, errors="replace", encoding="utf-8")
