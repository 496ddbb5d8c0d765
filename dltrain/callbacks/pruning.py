"""Ends a run that is behind others of a search."""

from collections.abc import Callable
from dataclasses import dataclass, field

from dltrain.engine.events import StopTraining, TrainEvent


@dataclass
class Pruning:
    """Ends training when `decide` gives a reason, which it is asked for at each evaluation of a split.

    It gets the number of the evaluation, counted from 1, and the value of the metric.
    """

    split: str
    name: str
    decide: Callable[[int, float], str]  # "": go on
    steps: list[int] = field(default_factory=list)  # of the evaluations so far

    def __call__(self, event: TrainEvent) -> None:
        """Report the value; the last evaluation ends nothing, since training has ended."""
        if self.split not in event.results:
            return
        self.steps = [*(step for step in self.steps if step < event.step), event.step]  # a rollback goes back
        reason = self.decide(len(self.steps), float(event.results[self.split].scalars[self.name]))
        if reason and not event.is_last:
            raise StopTraining(reason)
