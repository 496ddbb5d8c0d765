"""One model being served: who may wait, where requests are read, and how they reach the batches."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from dltrain.machine import cores
from dltrain.serving.batches import Answers, Batches, Work
from dltrain.serving.limits import Gone, Held, Limits, Refused, full
from dltrain.serving.metrics import Gauge, Metrics
from dltrain.serving.model import Decide, Served
from dltrain.serving.settings import Access

MOST_READERS = 8  # threads that read bodies: JSON, base64, images, texts


class Service:
    """The state of a server. All methods are called by its event loop."""

    def __init__(
        self,
        model: Served,
        compiled: Mapping[int, Decide],
        *,
        limits: Limits,
        access: Access,
        delay: float,
        warn: Callable[[str], None],
    ) -> None:
        """Start the threads; needs a running event loop.

        Args:
            model: the model.
            compiled: its program for each batch size.
            limits: what is accepted at most.
            access: who may use it.
            delay: seconds to wait for more requests before a batch.
            warn: told of errors of the server itself.
        """
        self.model, self.limits, self.access, self.warn = model, limits, access, warn
        self.metrics, self.held, self.inside = Metrics(), Held(limits.memory), 0
        self._loop = asyncio.get_running_loop()
        self._batches = Batches(compiled, self._deliver, metrics=self.metrics, delay=delay)
        self._readers = ThreadPoolExecutor(min(MOST_READERS, cores()), "reader")
        self.metrics.gauges += [
            Gauge("dltrain_requests_inside", "Requests that wait or are worked on", lambda: self.inside),
            Gauge("dltrain_queue_requests", "Requests that wait for a batch", lambda: self._batches.waiting),
            Gauge("dltrain_body_bytes", "Bytes of bodies without an answer yet", lambda: self.held.total),
        ]

    def close(self) -> None:
        """Answer what waits, and end the threads."""
        self._readers.shutdown()
        self._batches.close()

    def check_place(self) -> None:
        """Raise Refused if no further request may come in."""
        if self.inside >= self.limits.queue:
            raise full(f"{self.inside} requests are waiting, as many as may", reason="queue")

    @contextlib.contextmanager
    def place(self) -> Generator[None, None, None]:
        """Take a place among those that wait, or raise Refused."""
        self.check_place()
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def read(self, parse: Callable[[], Any]) -> Any:
        """Run what reads a body in another thread, so that a large one delays nobody's headers."""
        return await self._loop.run_in_executor(self._readers, parse)

    async def decide(
        self, arrays: Mapping[str, np.ndarray], *, receive: Any, began: float
    ) -> Mapping[str, np.ndarray]:
        """Return the decisions for the examples of a request.

        Args:
            arrays: its inputs by name, checked.
            receive: of ASGI, which tells whether the client still waits.
            began: when the request came in.

        Raises:
            Refused: 503 if there is no answer in time.
            Gone: the client has closed its connection.
        """
        future = self._loop.create_future()
        work = Work(arrays, future, began + self.limits.seconds)
        self._batches.submit(work)
        left = asyncio.ensure_future(_disconnected(receive))
        try:
            rest = max(0.0, work.deadline - time.monotonic())
            await asyncio.wait({future, left}, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            if future.done():
                return _finite(future.result())
            if left.done():
                raise Gone
            raise full(f"no answer within {self.limits.seconds:g} s", reason="time")
        finally:
            work.dropped = True
            left.cancel()

    def _deliver(self, answers: Answers) -> None:
        """Give results to those who wait, in the thread of the loop."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            self._loop.call_soon_threadsafe(_give, answers)


def _give(answers: Answers) -> None:
    for work, result in answers:
        if work.answer.done():
            continue
        if isinstance(result, Exception):
            work.answer.set_exception(result)
        elif not work.dropped:
            work.answer.set_result(result)


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _finite(decisions: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    for name, values in decisions.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0][0])
            raise Refused(400, f"row {row}: the {name} is not finite: the inputs are too large for this model")
    return decisions
