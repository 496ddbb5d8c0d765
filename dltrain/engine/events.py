"""The event that callbacks receive at the end of a chunk of steps, and their return values."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from dltrain.devices import hosts
from dltrain.devices.mesh import on_host
from dltrain.durations import Duration
from dltrain.engine.evaluate import Evaluation
from dltrain.engine.state import TrainState


@dataclass(frozen=True)
class StepLogs:
    """The logs of one chunk, on the device until they are read."""

    first: int  # number of the first step, counted from 1
    count: int
    arrays: Mapping[str, Any]

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Wait for the chunk and return its logs, each [count]."""
        return {name: value[: self.count] for name, value in on_host(dict(self.arrays)).items()}


@dataclass
class TrainEvent:
    """The end of a chunk. Callbacks may put evaluations into `results` for those after them."""

    step: int  # steps done, including those without an update
    total: int  # steps planned
    per_epoch: int
    state: TrainState  # read it in the call only: the next chunk reuses its memory
    logs: StepLogs
    results: dict[str, Evaluation] = field(default_factory=dict)  # split -> evaluation at this step

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return self.step / self.per_epoch

    @property
    def is_last(self) -> bool:
        """Whether training ends here as planned."""
        return self.step >= self.total


@dataclass(frozen=True)
class After:
    """Returned by a callback that only reads: `read()` is called while the next chunk runs."""

    read: Callable[[], None]


@dataclass(frozen=True)
class Replace:
    """Returned by a callback that changes the state: training continues with this one.

    Callbacks after it see the new state, and `results` in the place of those evaluations.
    """

    state: TrainState
    results: Mapping[str, Evaluation] = field(default_factory=dict)  # split -> evaluation of the new state


class StopTraining(Exception):
    """Raised by a callback to end training; the reason is written to the run folder."""

    def __init__(self, reason: str) -> None:
        """Set the reason, a text for the user."""
        super().__init__(reason)
        self.reason = reason


class Callback(Protocol):
    """A callable that takes an event. One with state has `state()` and `restore(saved)`, with JSON values."""

    def __call__(self, event: TrainEvent) -> After | Replace | None:
        """Handle the event."""
        ...


class Every:
    """Calls `callback` whenever `interval` has passed, and at the end."""

    def __init__(self, interval: Duration, callback: Callback, *, per_epoch: int, at_end: bool = True) -> None:
        """Set the interval: steps count from step 0, a time from now."""
        self.callback: Any = callback
        self.steps, self.seconds = interval.steps(per_epoch), interval.seconds
        self._at_end, self._since = at_end, time.monotonic()

    def next(self, step: int) -> int | None:
        """Return the next step after `step` where this is due, or None for a time interval."""
        return None if self.steps is None else (step // self.steps + 1) * self.steps

    def is_due(self, event: TrainEvent) -> bool:
        """Tell whether the interval has passed."""
        if self._at_end and event.is_last:
            return True
        if self.steps is not None:
            return event.step % self.steps == 0
        return hosts.agree(time.monotonic() - self._since >= (self.seconds or 0.0), "interval")

    def __call__(self, event: TrainEvent) -> After | Replace | None:
        """Call the callback."""
        self._since = time.monotonic()
        return self.callback(event)

    def state(self) -> Any:
        """Return the state of the callback."""
        return self.callback.state() if hasattr(self.callback, "state") else None

    def restore(self, saved: Any) -> None:
        """Restore the state of the callback."""
        if hasattr(self.callback, "restore"):
            self.callback.restore(saved)
