"""Tracks the best value of the monitored metric."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dltrain.engine.events import TrainEvent


@dataclass
class Best:
    """Tracks the best value of the monitored metric so far, and its step.

    Equal values are common, such as accuracies on a small split; then the smaller loss decides.
    """

    split: str
    name: str
    higher_is_better: bool
    value: float | None = None
    loss: float = np.inf
    step: int = 0
    improved: bool = False  # at the last evaluation
    warn: Callable[[str], None] = field(default=lambda text: None, compare=False)  # shows a text to the user
    is_first: bool = field(default=True, compare=False)

    def __call__(self, event: TrainEvent) -> None:
        """Compare if the monitored metric was computed at this step."""
        self.improved = False
        if self.split not in event.results:
            return
        scalars = event.results[self.split].scalars
        found, loss = scalars[self.name], scalars["loss"]
        if self.is_first and self.value is None and not np.isfinite(found):
            self.warn(
                f"warning: {self.split}/{self.name} is {found:g} at the first evaluation. As long as it is, no "
                "state is the best one, and early stopping and schedule=plateau do nothing; try "
                f"monitor={self.split}/loss"
            )
        self.is_first = False
        self.improved = self.is_better(found, self.value) or (found == self.value and loss < self.loss)
        if self.improved:
            self.value, self.loss, self.step = found, loss, event.step

    def is_better(self, found: float, than: float | None, *, by: float = 0.0) -> bool:
        """Tell whether `found` is finite and better by more than `by`; a finite value is better than None."""
        if not np.isfinite(found) or than is None:
            return bool(np.isfinite(found))
        return (found - than if self.higher_is_better else than - found) > by

    def state(self) -> dict[str, Any]:
        """Return value, loss and step."""
        return {"value": self.value, "loss": self.loss if np.isfinite(self.loss) else None, "step": self.step}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.value, self.step = saved["value"], saved["step"]
        self.loss = np.inf if saved["loss"] is None else saved["loss"]
