"""The range of the training targets, within which predictions stay."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from dltrain.data.preprocess.moments import Moments
from dltrain.types import Array


@dataclass(frozen=True)
class Bounds:
    """A fitted step of targets: `inverse`, back to the units of the data, clips to the range of training."""

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def fit(cls, blocks: Iterable[np.ndarray]) -> "Bounds":
        """Fit on blocks of training targets, [n, T]."""
        moments = Moments()
        for block in blocks:
            moments.add(block)
        return cls(moments.low.astype(np.float32), moments.high.astype(np.float32))

    def forward(self, x: Array) -> Array:
        """Return the targets unchanged: the loss sees all of their values."""
        return x

    def inverse(self, x: Array) -> Array:
        """Clip predictions, float [B, ..., T]; a NaN stays one."""
        axes = (1,) * (x.ndim - 1) + self.low.shape
        return jnp.clip(x, self.low.reshape(axes), self.high.reshape(axes))

    def to_json(self) -> dict[str, list[float]]:
        """Return both ends as lists."""
        return {"low": self.low.tolist(), "high": self.high.tolist()}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Bounds":
        """Rebuild the arrays, float32 [T]; ValueError if they are not a range."""
        low, high = (np.asarray(saved[name], np.float32) for name in ("low", "high"))
        if low.ndim != 1 or low.shape != high.shape or not (low <= high).all():
            raise ValueError("low and high must be two lists of numbers of equal length, low not above high")
        return cls(low, high)
