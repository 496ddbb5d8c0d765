"""Threads that convert blocks of data; one that dies or hangs is an error, not a wait without end."""

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence

from dltrain.errors import DiskError, DltrainError, WorkerError

LONGEST = 600.0  # seconds that a block may take


class Workers:
    """Threads that convert blocks. They are daemons: one that hangs does not keep the process from ending."""

    def __init__(self, work: Callable[[int], None], numbers: Sequence[int], threads: int) -> None:
        """Start the threads."""
        self._work, self._stopped = work, threading.Event()
        self._wanted: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
        for number in numbers:
            self._wanted.put(number)
        self._threads = [
            threading.Thread(target=self._run, daemon=True, name=f"convert {i}") for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, what: str) -> int:
        """Return the number of the next block that is finished, or raise what its conversion raised."""
        try:
            found = self._ended.get(timeout=LONGEST)
        except queue.Empty:
            raise WorkerError(
                f"{what}: no thread has finished a block within {LONGEST:g} s: reading hangs"
            ) from None
        if isinstance(found, DltrainError | KeyboardInterrupt | MemoryError):
            raise found
        if isinstance(found, OSError):
            raise DiskError(f"{what}: {found.strerror or found}") from found
        if isinstance(found, BaseException):
            raise WorkerError(f"{what}: a thread died: {type(found).__name__}: {found}") from found
        return found

    def stop(self) -> None:
        """End the threads after the blocks that they are converting; those that hang are left."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=1)

    def _run(self) -> None:
        with contextlib.suppress(queue.Empty):
            while not self._stopped.is_set():
                number = self._wanted.get_nowait()
                try:
                    self._work(number)
                    self._ended.put(number)
                except BaseException as error:  # raised by `wait`
                    self._stopped.set()
                    self._ended.put(error)
