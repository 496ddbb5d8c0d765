"""Evaluates splits for the callbacks after it."""

from collections.abc import Callable
from dataclasses import dataclass

from dltrain.engine.evaluate import Evaluation
from dltrain.engine.events import TrainEvent
from dltrain.engine.state import TrainState


@dataclass
class Evaluate:
    """Evaluates splits and leaves the results in the event."""

    evaluate: Callable[[TrainState, str], Evaluation]
    splits: tuple[str, ...]

    def __call__(self, event: TrainEvent) -> None:
        """Evaluate all splits and wait for the results."""
        for split in self.splits:
            event.results[split] = self.evaluate(event.state, split)
