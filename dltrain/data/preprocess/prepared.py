"""A source whose inputs have passed the host halves of the fitted steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.data.preprocess.pipeline import Preprocess
from dltrain.types import Spec


@dataclass(frozen=True)
class Prepared:
    """Reads examples of `source` with their inputs turned into arrays; `spec` describes these."""

    source: Any
    preprocess: Preprocess
    spec: Spec

    @property
    def fingerprint(self) -> str:
        """That of the raw data: fitted steps follow from it and from the config."""
        return self.source.fingerprint

    @property
    def published(self) -> Mapping[str, np.ndarray]:
        """The splits that the data set's authors fixed."""
        return self.source.published

    @property
    def at(self) -> np.ndarray:
        """The step at which each example begins in its text, int [N], where the source has it."""
        return self.source.at

    def __len__(self) -> int:
        """Return the number of examples, all splits together."""
        return len(self.source)

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        """Read these examples, int [B], and apply the host halves to their inputs."""
        found = self.source.read(indices)
        return {**found, "inputs": self.preprocess.host(found["inputs"])}
