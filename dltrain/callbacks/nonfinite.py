"""Ends a run whose loss or gradient becomes NaN or infinite."""

from dataclasses import dataclass, field

import numpy as np

from dltrain.engine.events import After, StepLogs, TrainEvent
from dltrain.errors import NonFiniteError


@dataclass
class NonFiniteGuard:
    """Ends the run with an error when a loss or gradient is not finite, or after `limit` such steps in a row."""

    limit: int = 1
    skipped: list[int] = field(default_factory=list)  # steps without an update, counted from 1

    def __call__(self, event: TrainEvent) -> After:
        """Check the logs of the chunk when it is done."""
        return After(lambda: self._check(event.logs))

    def _check(self, logs: StepLogs) -> None:
        for i in np.flatnonzero(logs.values["finite"] == 0).tolist():
            step = logs.first + i
            self.skipped.append(step)
            if self.skipped[-self.limit :] == list(range(step - self.limit + 1, step + 1)):
                loss, norm = (float(logs.values[name][i]) for name in ("loss", "gradient_norm"))
                streak = f", the {self.limit}th in a row" if self.limit > 1 else ""
                raise NonFiniteError(step, f"loss {loss:.4g}, gradient norm {norm:.4g} at step {step}{streak}")

    def state(self) -> list[int]:
        """Return the skipped steps."""
        return self.skipped

    def restore(self, saved: list[int]) -> None:
        """Restore what `state` returned."""
        self.skipped = list(saved)
