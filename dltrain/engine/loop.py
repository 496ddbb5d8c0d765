"""The training loop: dispatch a chunk, read the logs of the previous one, call the callbacks."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax
import numpy as np

from dltrain.devices import hosts
from dltrain.engine.events import After, Callback, Every, Replace, StepLogs, StopTraining, TrainEvent
from dltrain.engine.state import TrainState


@dataclass
class Pace:
    """The number of steps in about `target` seconds. It decides when callbacks run, never what is trained."""

    most: int
    target: float = 1.0
    steps: int = 8

    def __post_init__(self) -> None:
        """Start within the bound."""
        self.steps = min(self.steps, self.most)

    def update(self, steps: int, seconds: float) -> None:
        """Update from the time of a chunk; grow at most fourfold, since the first chunks are short."""
        wanted = self.target * steps / max(seconds, 1e-6)
        self.steps = int(min(max(1, wanted), 4 * self.steps, self.most))


@dataclass(frozen=True)
class Outcome:
    """How training ended."""

    state: TrainState
    step: int
    reason: str
    seconds: float


@dataclass
class Loop:
    """Trains from step `start` to step `total`.

    Before a callback that is due by its interval, all pending `After` reads are done, so it sees a finished and
    checked chunk. Callbacks run in the order of the list.
    """

    chunk: Callable[..., tuple[TrainState, dict]]
    feed: Callable[[int, int], np.ndarray]  # (step, count) -> inputs of the next batches, padded to the capacity
    data: object
    callbacks: Sequence[Callback]
    per_epoch: int
    pace: Pace
    pending: list[Callable[[], None]] = field(default_factory=list)
    state: TrainState | None = None  # after the last chunk, for code that catches an exception of `run`
    in_turn: bool = False  # wait for each chunk before anything else is dispatched

    def run(self, state: TrainState, *, start: int, total: int) -> Outcome:
        """Train, and return the outcome."""
        began, step, reason = time.monotonic(), start, "all steps done"
        while step < total:
            n = min(hosts.agree(self.pace.steps, "steps of a chunk"), self._due(step, total) - step)
            dispatched = time.monotonic()
            state, logs = self.chunk(state, self.data, self.feed(step, n), np.int32(n))
            self.state = state
            if self.in_turn:
                jax.block_until_ready(logs)
            self._settle()  # read the logs of the previous chunk while this one runs
            event = TrainEvent(step + n, total, self.per_epoch, state, StepLogs(step + 1, n, logs))
            step += n
            try:
                self._call(event)
            except StopTraining as stop:
                total, reason = step, stop.reason
            self.state = state = event.state
            self.pace.update(n, time.monotonic() - dispatched)
        self._settle()
        return Outcome(state, step, reason, time.monotonic() - began)

    def _call(self, event: TrainEvent) -> None:
        for callback in self.callbacks:
            if isinstance(callback, Every):
                if not callback.is_due(event):
                    continue
                self._settle()
            outcome = callback(event)
            if isinstance(outcome, After):
                self.pending.append(outcome.read)
            elif isinstance(outcome, Replace):
                event.state = outcome.state
                event.results.update(outcome.results)

    def _settle(self) -> None:
        waiting, self.pending = self.pending, []
        for read in waiting:
            read()

    def _due(self, step: int, total: int) -> int:
        timed = (c.next(step) for c in self.callbacks if isinstance(c, Every))
        return min([total, *(due for due in timed if due is not None)])
