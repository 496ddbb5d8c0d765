"""Means of training metrics over several steps, weighted by the number of examples in each.

A step that was not finite changed nothing, so it does not count. Sums are added step after step, in float64: they
do not depend on how steps are divided into chunks, or on where a run was interrupted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dltrain.engine.events import StepLogs

OF_ONE_STEP = ("learning_rate", "gradient_norm", "parameter_norm", "change")  # logs that are not means
HIDDEN = ("finite", "examples")  # logs that are not written


@dataclass(frozen=True)
class Weighted:
    """The logs of a chunk that have a mean, each times the number of examples of its step."""

    names: tuple[str, ...]
    terms: np.ndarray  # float64 [names + 1, count]; the last row is the number of examples


def weighted(values: Mapping[str, np.ndarray]) -> Weighted:
    """Prepare the logs of a chunk, [count] each: the loss, its terms, and the metrics."""
    others = [name for name in values if name not in ("loss", *OF_ONE_STEP, *HIDDEN)]
    names = ("loss", *others)
    examples = np.where(np.isfinite(values["loss"]), values["examples"], 0).astype(np.float64)
    table = np.array([values[name] for name in names], np.float64)
    terms = np.where(examples > 0, table, 0.0) * examples
    return Weighted(names, np.concatenate([terms, examples[None]]))


@dataclass
class Means:
    """Sums of values times examples, and the number of examples, over the steps that were added."""

    sums: dict[str, float] = field(default_factory=dict)
    examples: float = 0.0

    def add(self, chunk: Weighted, start: int, end: int) -> None:
        """Add the steps `start` to `end` of a chunk."""
        before = [*(self.sums.get(name, 0.0) for name in chunk.names), self.examples]
        # cumsum adds from left to right, unlike sum, whose order depends on the length
        parts = np.concatenate([np.array(before)[:, None], chunk.terms[:, start:end]], axis=1)
        *sums, self.examples = np.cumsum(parts, axis=1)[:, -1].tolist()
        self.sums = dict(zip(chunk.names, sums, strict=True))

    def values(self) -> dict[str, float]:
        """Return the means; NaN if no step counts."""
        return {name: total / self.examples if self.examples else float("nan") for name, total in self.sums.items()}

    def state(self) -> dict[str, object]:
        """Return the sums as hexadecimal texts: exact, also where they are not finite."""
        sums = {name: float.hex(float(total)) for name, total in self.sums.items()}
        return {"sums": sums, "examples": self.examples}

    @classmethod
    def restored(cls, saved: Mapping) -> "Means":
        """Return the means whose `state` was saved."""
        return cls({name: float.fromhex(total) for name, total in saved["sums"].items()}, saved["examples"])


def mean_of_chunk(logs: StepLogs) -> dict[str, float]:
    """Return the means over the steps of one chunk."""
    means = Means()
    means.add(weighted(logs.values), 0, logs.count)
    return means.values()
