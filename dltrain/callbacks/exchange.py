"""What a run does in a population: at an interval it meets the others, and may go on from the state of one."""

from collections.abc import Collection, Mapping
from typing import Protocol

from dltrain.engine.events import Replace, TrainEvent


class Exchange(Protocol):
    """The part of one run in the exchanges of a population.

    At a step of an exchange `meet` is called after the evaluation, and `commit` when the checkpoint of that step is
    written. Both wait for the other runs. So callbacks, metrics and the checkpoint of this step are of the state
    with which training goes on.
    """

    @property
    def steps(self) -> int:
        """Steps between two exchanges."""
        ...

    @property
    def numbers(self) -> Mapping[str, float]:
        """The current numbers of the run, by their keys."""
        ...

    @property
    def held(self) -> Collection[int]:
        """Steps whose checkpoints must stay, since the last complete exchange is resumed from them."""
        ...

    def meet(self, event: TrainEvent) -> Replace | None:
        """Wait for the other runs; return the state to go on with, if it is that of another one."""
        ...

    def commit(self, step: int, best: int | None) -> None:
        """Wait until all runs have written this step; `best` is that of the best state so far."""
        ...
