"""What most sources come to: rows that are arrays in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dltrain.data.aligned import aligned
from dltrain.data.sources.fingerprint import fingerprint
from dltrain.types import ArraySpec, Spec


@dataclass
class Rows:
    """A source whole in memory.

    Attributes:
        arrays: `inputs [N, ...]`, `targets [N, ...]` and what `spec.more` names.
        spec: the shapes of one row.
        published: row numbers of the splits that came with the data set.
    """

    arrays: Mapping[str, np.ndarray]
    spec: Spec
    published: Mapping[str, np.ndarray] = field(default_factory=dict)
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        """Fingerprint what is there; other words behind the same numbers are other data.

        The arrays may then be shared with the device, so nobody writes into them any more.
        """
        self.arrays = {part: aligned(array).view() for part, array in self.arrays.items()}
        for array in self.arrays.values():
            array.flags.writeable = False
        words = np.frombuffer("\n".join(self.spec.vocabulary).encode(), np.uint8)
        self.fingerprint = fingerprint({**self.arrays, "vocabulary": words} if words.size else self.arrays)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.arrays["inputs"])

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Read these rows, int [B]."""
        return {part: array[indices] for part, array in self.arrays.items()}


def make_rows(
    arrays: Mapping[str, np.ndarray], *, published: Mapping[str, np.ndarray] | None = None, **about: Any
) -> Rows:
    """Make a source of arrays [N, ...]: their shapes make its spec, and `about` what they are (task, kind, ...)."""
    shapes = {part: ArraySpec(array.shape[1:], str(array.dtype)) for part, array in arrays.items()}
    spec = Spec(inputs=shapes.pop("inputs"), targets=shapes.pop("targets"), more=shapes, **about)
    return Rows(arrays, spec, published or {})
