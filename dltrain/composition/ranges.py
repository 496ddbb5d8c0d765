"""Reads what an override samples from: an interval, a range, or a list of choices, in Hydra's grammar."""

from collections.abc import Sequence
from dataclasses import dataclass

from dltrain.config.request import Override


@dataclass(frozen=True)
class Sampled:
    """What a word with several values says about them.

    Attributes:
        low: the smallest number of an interval or a range; None of a list of choices.
        high: the largest number of it.
        step: between two numbers of a range; None of an interval.
        whole: whether the numbers are whole: `int(...)` was typed, or the range is of whole numbers.
        tags: words typed in `tag(...)`.
    """

    low: float | None = None
    high: float | None = None
    step: float | None = None
    whole: bool = False
    tags: tuple[str, ...] = ()


def read_sampled(o: Override, values: Sequence[Override]) -> Sampled:
    """Read an override that `overrides.read` has found several values in."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep

    found = OverridesParser.create().parse_override(f"{o.key}={o.text}").value()
    tags = tuple(sorted(getattr(found, "tags", ())))
    if isinstance(found, IntervalSweep) and found.start is not None and found.end is not None:
        return Sampled(found.start, found.end, whole=isinstance(found.start, int), tags=tags)
    if isinstance(found, RangeSweep):
        numbers = [value.value for value in values]
        whole = all(isinstance(number, int) for number in numbers)
        return Sampled(min(numbers), max(numbers), abs(found.step), whole=whole, tags=tags)
    return Sampled(tags=tags)
