"""The training loop: dispatch a chunk, then read the one before, then let the callbacks look."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from dltrain.engine.events import After, Callback, Every, Replace, StepLogs, StopTraining, TrainEvent
from dltrain.engine.state import TrainState


@dataclass
class Pace:
    """How many steps make about `target` seconds of work. It decides when callbacks look, never what is trained."""

    most: int
    target: float = 1.0
    steps: int = 8

    def __post_init__(self) -> None:
        """Begin within the bound."""
        self.steps = min(self.steps, self.most)

    def update(self, steps: int, seconds: float) -> None:
        """Take note of a chunk that took so long; grow at most fourfold, since the first ones are short."""
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

    A callback that is due by its interval sees the chunk finished and checked; before it, all that was put off by
    `After` is read. The order of the callbacks is the order of execution.
    """

    chunk: Callable[..., tuple[TrainState, dict]]
    feed: Callable[[int, int], np.ndarray]  # (step, count) -> rows of the next batches, padded to the capacity
    data: object
    callbacks: Sequence[Callback]
    per_epoch: int
    pace: Pace
    pending: list[Callable[[], None]] = field(default_factory=list)
    state: TrainState | None = None  # as the last chunk left it, for whoever catches what `run` raises

    def run(self, state: TrainState, *, start: int, total: int) -> Outcome:
        """Train, and say how it ended."""
        began, step, reason = time.monotonic(), start, "all steps done"
        while step < total:
            n = min(self.pace.steps, self._due(step, total) - step)
            dispatched = time.monotonic()
            state, logs = self.chunk(state, self.data, self.feed(step, n), np.int32(n))
            self.state = state
            self._settle()  # the numbers of the chunk before, while this one runs
            event = TrainEvent(step + n, total, self.per_epoch, state, StepLogs(step + 1, n, logs))
            step += n
            try:
                self._look(event)
            except StopTraining as stop:
                total, reason = step, stop.reason
            self.state = state = event.state
            self.pace.update(n, time.monotonic() - dispatched)
        self._settle()
        return Outcome(state, step, reason, time.monotonic() - began)

    def _look(self, event: TrainEvent) -> None:
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

    def _settle(self) -> None:
        waiting, self.pending = self.pending, []
        for read in waiting:
            read()

    def _due(self, step: int, total: int) -> int:
        timed = (c.next(step) for c in self.callbacks if isinstance(c, Every))
        return min([total, *(due for due in timed if due is not None)])
