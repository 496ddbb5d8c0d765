"""Rules that end training early by what a step logged, or by the clock; those of evaluations are in `callbacks`."""

from collections.abc import Callable
from dataclasses import dataclass

from dltrain.engine.callbacks import Moment, StopTraining

WORDS = {"loss": "loss of the last batch", "gradient_norm": "gradient norm", "change": "change of the weights"}


@dataclass(frozen=True)
class Reached:
    """Ends training when a number that the last step logged is below `bound`."""

    name: str
    bound: float

    def __call__(self, moment: Moment) -> None:
        """Wait for the chunk, and look."""
        found = float(moment.logs.values[self.name][-1])
        if found < self.bound:
            raise StopTraining(f"{WORDS[self.name]} {found:.3g} is below stop.{self.name}={self.bound:g}")


@dataclass(frozen=True)
class OutOfTime:
    """Ends training at the first chunk's end after `seconds`."""

    seconds: float
    spent: Callable[[], float]  # seconds so far, earlier legs of the run with them

    def __call__(self, moment: Moment) -> None:
        """Look at the clock."""
        del moment
        if self.spent() >= self.seconds:
            raise StopTraining(f"time is up: {self.seconds:g} s of training (stop.time)")
