"""What happens at a moment of training: callbacks are called at chunk ends, in the order of their list."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import jax
import numpy as np

from dltrain.durations import Duration
from dltrain.engine.evaluate import Evaluation
from dltrain.engine.state import TrainState
from dltrain.errors import NonFiniteError


@dataclass(frozen=True)
class StepLogs:
    """The logs of one chunk, still on the device until read."""

    first: int  # number of the first step, counted from 1
    count: int
    arrays: Mapping[str, Any]

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Wait for the chunk and return its logs, each [count]."""
        return {name: value[: self.count] for name, value in jax.device_get(dict(self.arrays)).items()}


@dataclass
class Moment:
    """The end of a chunk. Callbacks early in the list leave their findings in `results` for later ones."""

    step: int  # updates done
    total: int  # updates planned
    per_epoch: int
    state: TrainState  # read it here and now: the next chunk takes it
    logs: StepLogs
    results: dict[str, Evaluation] = field(default_factory=dict)  # split -> what was found just now

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
    """Returned by a callback that only reads: `read()` is called when the next chunk is under way."""

    read: Callable[[], None]


@dataclass(frozen=True)
class Replace:
    """Returned by a callback that changes training: goes on with this state."""

    state: TrainState


class StopTraining(Exception):
    """Raised by a callback to end training; the reason is kept in the run folder."""

    def __init__(self, reason: str) -> None:
        """Give the reason, as a user reads it."""
        super().__init__(reason)
        self.reason = reason


class Callback(Protocol):
    """Anything that can be called with a moment. One that remembers has `state()` and `restore(saved)`, JSON."""

    def __call__(self, moment: Moment) -> After | Replace | None:
        """Look at the moment, or act on it."""
        ...


class Every:
    """Calls `callback` each time `interval` has passed, and at the end."""

    def __init__(self, interval: Duration, callback: Callback, *, per_epoch: int, at_end: bool = True) -> None:
        """Count from step 0; a time counts from now."""
        self.callback: Any = callback
        self.steps, self.seconds = interval.steps(per_epoch), interval.seconds
        self._at_end, self._since = at_end, time.monotonic()

    def next(self, step: int) -> int | None:
        """Return the next step after `step` at which this is due, if that can be known."""
        return None if self.steps is None else (step // self.steps + 1) * self.steps

    def is_due(self, moment: Moment) -> bool:
        """Tell whether the interval has passed."""
        if self._at_end and moment.is_last:
            return True
        if self.steps is not None:
            return moment.step % self.steps == 0
        return time.monotonic() - self._since >= (self.seconds or 0.0)

    def __call__(self, moment: Moment) -> After | Replace | None:
        """Call the callback."""
        self._since = time.monotonic()
        return self.callback(moment)

    def state(self) -> Any:
        """Return what the callback remembers."""
        return self.callback.state() if hasattr(self.callback, "state") else None

    def restore(self, saved: Any) -> None:
        """Give the callback back what it remembered."""
        if hasattr(self.callback, "restore"):
            self.callback.restore(saved)


@dataclass
class Watch:
    """Ends the run with an error when a loss or gradient is not finite, or after `limit` such steps in a row."""

    limit: int = 1
    skipped: list[int] = field(default_factory=list)  # steps that changed nothing, counted from 1

    def __call__(self, moment: Moment) -> After:
        """Look at the chunk's logs once it is done."""
        return After(lambda: self._check(moment.logs))

    def _check(self, logs: StepLogs) -> None:
        for i in np.flatnonzero(logs.values["finite"] == 0).tolist():
            step = logs.first + i
            self.skipped.append(step)
            if self.skipped[-self.limit :] == list(range(step - self.limit + 1, step + 1)):
                loss, norm = (float(logs.values[name][i]) for name in ("loss", "gradient_norm"))
                row = f", the {self.limit}th in a row" if self.limit > 1 else ""
                raise NonFiniteError(step, f"loss {loss:.4g}, gradient norm {norm:.4g} at step {step}{row}")

    def state(self) -> list[int]:
        """Return the steps skipped."""
        return self.skipped

    def restore(self, saved: list[int]) -> None:
        """Continue from there."""
        self.skipped = list(saved)


@dataclass
class Evaluate:
    """Evaluates splits and leaves the results in the moment."""

    evaluate: Callable[[TrainState, str], Evaluation]
    splits: tuple[str, ...]

    def __call__(self, moment: Moment) -> None:
        """Evaluate, waiting for the result."""
        for split in self.splits:
            moment.results[split] = self.evaluate(moment.state, split)


@dataclass
class Best:
    """Remembers the best value of the monitored number so far, and the step it was seen at.

    Where values are equal, as accuracies of a small split often are, the smaller loss decides.
    """

    split: str
    name: str
    higher_is_better: bool
    value: float | None = None
    loss: float = np.inf
    step: int = 0
    improved: bool = False  # just now

    def __call__(self, moment: Moment) -> None:
        """Compare, if the monitored number was computed just now."""
        self.improved = False
        if self.split not in moment.results:
            return
        scalars = moment.results[self.split].scalars
        found, loss = scalars[self.name], scalars["loss"]
        self.improved = self.is_better(found, self.value) or (found == self.value and loss < self.loss)
        if self.improved:
            self.value, self.loss, self.step = found, loss, moment.step

    def is_better(self, found: float, than: float | None, *, by: float = 0.0) -> bool:
        """Tell whether `found` is finite and better by more than `by`; anything finite is better than None."""
        if not np.isfinite(found) or than is None:
            return bool(np.isfinite(found))
        return (found - than if self.higher_is_better else than - found) > by

    def state(self) -> dict[str, Any]:
        """Return value, loss and step."""
        return {"value": self.value, "loss": self.loss if np.isfinite(self.loss) else None, "step": self.step}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from there."""
        self.value, self.step = saved["value"], saved["step"]
        self.loss = np.inf if saved["loss"] is None else saved["loss"]


@dataclass
class EarlyStopping:
    """Ends training when the monitored number has not improved by `min_delta` for `patience` evaluations."""

    best: Best
    patience: int
    min_delta: float = 0.0
    value: float | None = None  # what is to be improved upon
    waited: int = 0

    def __call__(self, moment: Moment) -> None:
        """Count evaluations without improvement."""
        if self.best.split not in moment.results:
            return
        found = moment.results[self.best.split].scalars[self.best.name]
        if self.best.is_better(found, self.value, by=self.min_delta):
            self.value, self.waited = found, 0
        else:
            self.waited += 1
        if self.waited >= self.patience:
            raise StopTraining(
                f"early stopping: no better {self.best.split} {self.best.name} in {self.patience} evaluations"
            )

    def state(self) -> dict[str, Any]:
        """Return the count, and what is to be improved upon."""
        return {"value": self.value, "waited": self.waited}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from there."""
        self.value, self.waited = saved["value"], saved["waited"]


@dataclass
class StopBelow:
    """Ends training when the loss of a split is below `loss` (a part that YAML can choose)."""

    loss: float
    split: str = "validation"

    def __call__(self, moment: Moment) -> None:
        """Look at the split's loss, if it was computed just now."""
        if self.split in moment.results and moment.results[self.split].scalars["loss"] < self.loss:
            raise StopTraining(f"{self.split} loss is below {self.loss}")
