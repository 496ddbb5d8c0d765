"""Rules that end training early by what a step logged, or by the clock; those of evaluations are in `callbacks`."""

from collections.abc import Callable
from dataclasses import dataclass

from dltrain.engine.events import StopTraining, TrainEvent

WORDS = {"loss": "loss of the last batch", "gradient_norm": "gradient norm", "change": "change of the weights"}


@dataclass(frozen=True)
class Reached:
    """Ends training when a number that the last step logged is below `bound`."""

    name: str
    bound: float

    def __call__(self, event: TrainEvent) -> None:
        """Wait for the chunk, and look."""
        found = float(event.logs.values[self.name][-1])
        if found < self.bound:
            raise StopTraining(f"{WORDS[self.name]} {found:.3g} is below stop.{self.name}={self.bound:g}")


@dataclass(frozen=True)
class OutOfTime:
    """Ends training at the first chunk's end after `seconds`."""

    seconds: float
    elapsed: Callable[[], float]  # seconds of training so far, over all segments of the run

    def __call__(self, event: TrainEvent) -> None:
        """Look at the clock."""
        del event
        if self.elapsed() >= self.seconds:
            raise StopTraining(f"time is up: {self.seconds:g} s of training (stop.time)")


@dataclass
class StopBelow:
    """Ends training when the loss of a split is below `loss` (a part that YAML can choose)."""

    loss: float
    split: str = "validation"

    def __call__(self, event: TrainEvent) -> None:
        """Look at the split's loss, if it was computed just now."""
        if self.split in event.results and event.results[self.split].scalars["loss"] < self.loss:
            raise StopTraining(f"{self.split} loss is below {self.loss}")
