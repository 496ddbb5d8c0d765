"""Rules that end training early by a logged value, the time, or the loss of a split."""

from collections.abc import Callable
from dataclasses import dataclass

from dltrain.devices import hosts
from dltrain.engine.events import StopTraining, TrainEvent
from dltrain.ranges import Finite

WORDS = {"loss": "loss of the last batch", "gradient_norm": "gradient norm", "change": "change of the weights"}


@dataclass(frozen=True)
class Reached:
    """Ends training when a value logged by the last step is below `bound`."""

    name: str
    bound: float

    def __call__(self, event: TrainEvent) -> None:
        """Wait for the chunk and check the value."""
        found = float(event.logs.values[self.name][-1])
        if found < self.bound:
            raise StopTraining(f"{WORDS[self.name]} {found:.3g} is below stop.{self.name}={self.bound:g}")


@dataclass(frozen=True)
class OutOfTime:
    """Ends training at the end of the first chunk after `seconds`."""

    seconds: float
    elapsed: Callable[[], float]  # seconds of training so far, over all segments of the run

    def __call__(self, event: TrainEvent) -> None:
        """Check the elapsed time."""
        del event
        if hosts.agree(self.elapsed() >= self.seconds, "stop.time"):
            raise StopTraining(f"time limit reached: {self.seconds:g} s of training (stop.time)")


@dataclass
class StopBelow:
    """Ends training when the loss of a split is below `loss`; selected in YAML."""

    loss: Finite
    split: str = "validation"

    def __call__(self, event: TrainEvent) -> None:
        """Check the loss of the split if it was computed at this step."""
        if self.split in event.results and event.results[self.split].scalars["loss"] < self.loss:
            raise StopTraining(f"{self.split} loss is below {self.loss}")
