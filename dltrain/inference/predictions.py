"""What a model predicts for given examples: decisions as arrays, and as columns of a table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dltrain.types import Spec


@dataclass(frozen=True, eq=False)
class Predictions(Mapping[str, np.ndarray]):
    """Decisions by name, [N, ...] each: `class` and `probabilities`, `value`, `mask`, ...; a mapping of them.

    Attributes:
        decisions: what the task of the model decides.
        spec: the features of the data.
    """

    decisions: Mapping[str, np.ndarray]
    spec: Spec = field(repr=False)

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a decision, [N, ...]."""
        return self.decisions[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the decisions."""
        return iter(self.decisions)

    def __len__(self) -> int:
        """Return the number of decisions."""
        return len(self.decisions)

    @property
    def count(self) -> int:
        """Number of examples."""
        return len(next(iter(self.decisions.values())))

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The decisions as columns named by classes and targets: [N], or [N, H] for H rows of each example.

        Raises:
            ConfigError: a decision has too many elements for that, as masks have.
        """
        return self.spec.task.columns(self.decisions, self.spec)

    def to_frame(self) -> Any:
        """Return the columns as a polars frame; several rows of an example have their `step`, from 1."""
        from dltrain.inference.frames import frame_of

        return frame_of({}, self.columns, valid=None)
