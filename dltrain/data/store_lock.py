"""A lock on a file of the cache, which ends with the object or the process."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Generator
from pathlib import Path


class Lock:
    """A lock on a file, which ends with the object or the process."""

    def __init__(self, path: Path, operation: int) -> None:
        """Wait for the lock, or raise BlockingIOError."""
        self._file = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, operation)
        except OSError:
            self.release()
            raise

    @classmethod
    def shared(cls, path: Path) -> "Lock":
        """Wait until nobody writes or removes the store, and keep others from doing so."""
        return cls(path, fcntl.LOCK_SH)

    @classmethod
    @contextlib.contextmanager
    def exclusive(cls, path: Path) -> Generator[None]:
        """Wait until nobody uses the store."""
        lock = cls(path, fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock.release()

    @classmethod
    @contextlib.contextmanager
    def attempt(cls, path: Path) -> Generator[bool]:
        """Tell whether nobody uses the store, and keep it so."""
        try:
            lock = cls(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def release(self) -> None:
        """Release the lock."""
        if self._file >= 0 and os.close is not None:  # it is None when Python ends
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        """Release the lock of a store that is no longer used."""
        self.release()
