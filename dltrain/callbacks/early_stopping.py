"""Ends training when the monitored metric has stopped improving."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.callbacks.best import Best
from dltrain.engine.events import StopTraining, TrainEvent


@dataclass
class EarlyStopping:
    """Ends training when the monitored metric has not improved by `min_delta` for `patience` evaluations.

    They count from the first one at which the metric is finite.
    """

    best: Best
    patience: int
    min_delta: float = 0.0
    value: float | None = None  # the value to improve on
    waited: int = 0

    def __call__(self, event: TrainEvent) -> None:
        """Count evaluations without improvement."""
        if self.best.split not in event.results:
            return
        found = event.results[self.best.split].scalars[self.best.name]
        if self.value is None and not np.isfinite(found):  # nothing to compare: the metric may never be defined
            return
        if self.best.is_better(found, self.value, by=self.min_delta):
            self.value, self.waited = found, 0
        else:
            self.waited += 1
        if self.waited >= self.patience:
            raise StopTraining(
                f"early stopping: no better {self.best.split} {self.best.name} in {self.patience} evaluations"
            )

    def state(self) -> dict[str, Any]:
        """Return the count and the value to improve on."""
        return {"value": self.value, "waited": self.waited}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.value, self.waited = saved["value"], saved["waited"]
