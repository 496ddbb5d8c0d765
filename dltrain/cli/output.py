"""Standard output and error that outlive whoever reads them: what nobody can read goes to the log of the run."""

import errno
import io
import logging
import os
import sys
from typing import Any, TextIO

from dltrain.errors import UNREAD

LEFT = frozenset({errno.EPIPE, errno.EIO, errno.EBADF, errno.ECONNRESET})
"""The reader has left: `| head`, a closed terminal, `>&-`. That is not a failure of the command."""


class Output:
    """A text stream that never fails: after its first error, lines go to the logger UNREAD, which train.log keeps.

    Attributes:
        failure: the error of a stream that should have worked, such as a full disk; None if there was none.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Write to `stream`; None if the process was started without one."""
        self._stream: Any = stream or io.StringIO()
        self._lost = stream is None
        self._line = ""
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or log what is complete."""
        if not self._lost:
            try:
                return self._stream.write(text)
            except OSError as error:
                self._lose(error)
        *lines, self._line = (self._line + text).split("\n")
        for line in filter(None, lines):
            logging.getLogger(UNREAD).warning(line)
        return len(text)

    def flush(self) -> None:
        """Flush, if there is still a reader."""
        if not self._lost:
            try:
                self._stream.flush()
            except OSError as error:
                self._lose(error)

    def isatty(self) -> bool:
        """Say whether this is a terminal with a reader."""
        return not self._lost and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        """Everything else is that of the stream."""
        return getattr(self._stream, name)

    def _lose(self, error: OSError) -> None:
        """Give up the stream; what it has buffered, and what the interpreter flushes at its end, goes nowhere."""
        self._lost = True
        self.failure = None if error.errno in LEFT else error
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def outlive_readers() -> None:
    """Replace the standard streams of this process, unless somebody has done so already.

    Descriptors that are closed are opened on nothing first: else the next file of the run would get their number,
    and what a library prints would end up in it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream, original = getattr(sys, name), getattr(sys, f"__{name}__")
        if stream is original:
            if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() not in ("utf-8", "utf8"):
                stream.reconfigure(errors="replace")  # our own text has ≥ and ²
            setattr(sys, name, Output(stream))
