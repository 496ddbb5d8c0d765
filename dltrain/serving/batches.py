"""Waiting requests are answered together: one thread, batches of fixed sizes, and no delay unless one is set."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dltrain.inference.given import padded
from dltrain.serving.metrics import Metrics
from dltrain.serving.model import Decide

SIZES = (1, 4, 16, 64, 256, 1024, 4096)


def sizes_up_to(largest: int) -> tuple[int, ...]:
    """Return the batch sizes to compile: 1, 4, 16, ... and the largest."""
    return (*(size for size in SIZES if size < largest), largest)


@dataclass(eq=False)
class Work:
    """The examples of one request, and whoever waits for them.

    Attributes:
        arrays: inputs by name, [N, ...] each, checked.
        answer: receives the decisions or an exception; called by the thread of the batches.
        deadline: in seconds of `time.monotonic`; later nobody waits.
        dropped: set when nobody waits any more.
        since: when it was made.
    """

    arrays: Mapping[str, np.ndarray]
    answer: Any
    deadline: float
    dropped: bool = False
    since: float = field(default_factory=time.monotonic)

    @property
    def rows(self) -> int:
        """The number of examples."""
        return len(next(iter(self.arrays.values())))


Answers = Sequence[tuple[Work, Any]]


class Batches:
    """A queue of work, and the thread that runs it.

    The queue itself has no bound: whoever adds to it limits how many requests are in the server.
    """

    def __init__(
        self,
        compiled: Mapping[int, Decide],
        deliver: Callable[[Answers], None],
        *,
        metrics: Metrics,
        delay: float = 0.0,
    ) -> None:
        """Take a program for each batch size.

        Args:
            compiled: batch size -> program.
            deliver: called by the thread with the results of a batch: decisions by name, or an exception.
            metrics: of the server.
            delay: seconds to wait for more requests before a batch that is not full.
        """
        self._compiled, self._sizes = dict(compiled), sorted(compiled)
        self._deliver, self._metrics, self._delay = deliver, metrics, delay
        self._waiting: deque[Work] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    @property
    def largest(self) -> int:
        """The largest batch."""
        return self._sizes[-1]

    @property
    def waiting(self) -> int:
        """The number of requests in the queue."""
        return len(self._waiting)

    def submit(self, work: Work) -> None:
        """Add the examples of a request."""
        with self._changed:
            self._waiting.append(work)
            self._changed.notify()

    def close(self) -> None:
        """Answer what waits, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while taken := self._take():
            now = time.monotonic()
            alive = [work for work in taken if not work.dropped and work.deadline > now]
            for work in alive:
                self._metrics.waited.observe(now - work.since)
            if alive:
                self._deliver(self._results(alive))

    def _take(self) -> list[Work]:
        """Wait for work; return the requests of the next batch, or nothing once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if self._delay and not self._closing:
                self._changed.wait_for(lambda: self._closing or self._rows() >= self.largest, self._delay)
            taken, rows = [], 0
            while self._waiting and (not taken or rows + self._waiting[0].rows <= self.largest):
                taken.append(self._waiting.popleft())
                rows += taken[-1].rows * (not taken[-1].dropped)
            return taken

    def _rows(self) -> int:
        return sum(work.rows for work in self._waiting)

    def _results(self, works: Sequence[Work]) -> Answers:
        """Run requests together; if that fails, one by one, so that only the one that fails has an exception."""
        try:
            names = works[0].arrays
            found = self._run({name: np.concatenate([work.arrays[name] for work in works]) for name in names})
        except Exception as error:
            if len(works) == 1:
                return [(works[0], error)]
            return [self._results([work])[0] for work in works]
        ends = np.cumsum([work.rows for work in works])
        return [
            (work, {name: values[end - work.rows : end] for name, values in found.items()})
            for work, end in zip(works, ends.tolist(), strict=True)
        ]

    def _run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Decide any number of examples, in batches of the fixed sizes; the last one is padded."""
        total, parts = len(next(iter(arrays.values()))), []
        for start in range(0, total, self.largest):
            rows = min(self.largest, total - start)
            size = next(size for size in self._sizes if size >= rows)
            batch = {name: padded(values[start : start + rows], size) for name, values in arrays.items()}
            began = time.monotonic()
            found = self._compiled[size](batch, np.arange(size) < rows)
            self._metrics.batch(rows, size, time.monotonic() - began)
            parts.append({name: np.asarray(values)[:rows] for name, values in found.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
