"""A source whose inputs have passed the host halves of the fitted steps."""

from typing import Any

import numpy as np

from dltrain.data.preprocess.pipeline import Preprocess
from dltrain.types import Spec


class Prepared:
    """Reads examples of another source and turns their inputs into arrays."""

    def __init__(self, source: Any, preprocess: Preprocess, spec: Spec) -> None:
        """Copy the description of the source; `spec` describes the arrays that the steps return.

        The fingerprint stays that of the raw data: fitted steps follow from it and from the config.
        """
        self.spec, self.fingerprint, self.published = spec, source.fingerprint, source.published
        self._source, self._preprocess = source, preprocess

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

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        """Read these examples, int [B], and apply the host halves to their inputs."""
        found = self._source.read(indices)
        return {**found, "inputs": self._preprocess.host(found["inputs"])}
