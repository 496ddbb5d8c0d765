"""A source whose batches are changed as they are read."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dltrain.data.preprocess.pipeline import Preprocess
from dltrain.types import Spec


class Changed:
    """Reads examples of another source, and applies a function to each batch.

    The fingerprint stays that of the source: what is changed follows from it and from the config.
    """

    def __init__(
        self,
        source: Any,
        spec: Spec,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        *,
        published: Mapping[str, np.ndarray],
    ) -> None:
        """Copy the description of the source; `spec` describes the examples that `change` returns."""
        self.spec, self.fingerprint, self.published = spec, source.fingerprint, published
        self.overlapping = getattr(source, "overlapping", False)
        self._source, self._change = source, change

    @property
    def position(self) -> np.ndarray:
        """The step at which each example begins in its text, int [N], where the source has it."""
        return self._source.position

    def __len__(self) -> int:
        """Return the number of examples, all splits together."""
        return len(self._source)

    def where(self, index: int) -> str:
        """Return where an example is, such as file and row; "" if that is not known."""
        return self._source.where(index) if hasattr(self._source, "where") else ""

    def reading(self) -> str:
        """Return the files that threads are reading now, "" where that is not known."""
        return self._source.reading() if hasattr(self._source, "reading") else ""

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        """Read these examples, int [B], changed."""
        return self._change(self._source.read(indices))


def prepared(source: Any, preprocess: Preprocess, spec: Spec) -> Changed:
    """Return a source whose inputs have passed the host halves of the fitted steps; `spec` describes the arrays."""

    def change(found: dict[str, Any]) -> dict[str, Any]:
        return {**found, "inputs": preprocess.host(found["inputs"])}

    return Changed(source, spec, change, published=source.published)
