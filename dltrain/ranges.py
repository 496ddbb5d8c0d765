"""Ranges of numbers: an argument of a part declares which values it accepts, as an annotation.

`def noise(batch, key, *, stddev: NonNegative = 0.1)`. Building a part from YAML checks the value, and messages,
`dltrain list GROUP=CHOICE` and the catalogue show the range. Nothing is imported, so that every layer can use it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

LARGEST = 3.4e38  # of float32, in which these values are used
LARGEST_WHOLE = 2**63 - 1


@dataclass(frozen=True)
class Range:
    """Annotation of a number, or of a list of numbers, with the values that each may have: all are finite.

    `Annotated[float, Range(0, below=1)]` is 0 or more, and less than 1.

    Attributes:
        low: smallest value; None: no bound.
        high: largest value.
        above: bound that the value itself may not have.
        below: likewise.
    """

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def holds(self, value: Any) -> bool:
        """Tell whether a number, or each number of a list, is in the range; true for None and for texts."""
        if value is None or isinstance(value, str):
            return True
        if isinstance(value, Sequence):
            return all(self.holds(item) for item in value)
        if not abs(value) <= (LARGEST_WHOLE if isinstance(value, int) else LARGEST):  # nan too
            return False
        inside = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        return inside and (self.above is None or value > self.above) and (self.below is None or value < self.below)

    def words(self, *, whole: bool = False) -> str:
        """Describe the values: a number ≥ 0 and < 1."""
        kind = "a whole number" if whole else "a finite number"
        if self.low is not None and self.high is not None:
            return f"{kind} from {self.low:.10g} to {self.high:.10g}"
        bounds = ((">", self.above), ("≥", self.low), ("<", self.below), ("≤", self.high))
        return f"{kind} {' and '.join(f'{sign} {edge:.10g}' for sign, edge in bounds if edge is not None)}".rstrip()


@dataclass(frozen=True)
class Traceable:
    """Annotation of a number that may be a traced value, so that lanes of one program may differ in it.

    Its part computes with it in `jax.numpy`, and no Python code depends on its value, except on whether it is zero.
    A model hands it to a layer that does so, such as `models.layers.Dropout`.
    """


T = TypeVar("T")
Traced = Annotated[T, Traceable()]
"""`gamma: Traced[NonNegative] = 2.0`."""

Finite = Annotated[float, Range()]
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(low=0)]
Probability = Annotated[float, Range(0, 1)]
BelowOne = Annotated[float, Range(0, below=1)]
"""The probability of dropping a unit, or the decay of a moving average: at 1 nothing would be left to learn."""

Whole = Annotated[int, Range()]
Count = Annotated[int, Range(low=0)]
Size = Annotated[int, Range(low=1)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
