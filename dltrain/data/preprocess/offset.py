"""Offsets of float64 columns, subtracted on the host: float32 cannot tell 1700000001 from 1700000002."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from dltrain.data.preprocess.moments import Moments
from dltrain.errors import DataError
from dltrain.types import Array, Feature

BLOCK = 8192  # examples that are looked at together, in float64


def moments_of(values: np.ndarray) -> Moments:
    """Return the moments of the columns of an array, [N, ..., columns] or [N]."""
    moments = Moments()
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        moments.add(block if block.ndim > 1 else block[:, None])
    return moments


def narrowed(values: np.ndarray) -> np.ndarray:
    """Convert numbers [N, ..., columns] to float32, or to float64 if that would lose a column's differences.

    Numbers beyond float32 become infinite, which the check of the examples finds.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = values.astype(np.float32)
        wide = values.dtype.itemsize > 2 and values.dtype != np.float32 and bool(np.isfinite(narrow).all())
        return values.astype(np.float64) if wide and moments_of(values).is_coarse.any() else narrow


@dataclass(frozen=True)
class Offset:
    """A step that subtracts a number from each column, float64 [N, F] -> float32 [N, F]; 0 where none is needed.

    A float32 array is taken for what the step returned, and stays as it is.
    """

    offset: np.ndarray

    @staticmethod
    def fit(blocks: Iterable[np.ndarray]) -> "Offset | None":
        """Fit the mean of each column that needs one; None if no column does."""
        moments = Moments()
        for block in blocks:
            moments.add(block)
        needed = moments.is_coarse
        return Offset(np.where(needed, moments.mean, 0.0)) if needed.any() else None

    def host(self, values: Any) -> np.ndarray:
        """Subtract in float64; DataError for float32 values from which nothing has been subtracted."""
        values = np.asarray(values)
        if values.dtype != np.float32:
            return (values.astype(np.float64) - self.offset).astype(np.float32)
        raw = (np.abs(values) > np.abs(self.offset) / 2) & (self.offset != 0)
        if raw.any():
            column = int(np.argmax(raw.reshape(-1, raw.shape[-1]).any(0)))
            raise DataError(
                f"inputs: column {column} (counted from 0) needs float64: float32 cannot tell its values apart; "
                "pass a float64 array"
            )
        return values

    def forward(self, x: Array) -> Array:
        """Change nothing: the host has subtracted already."""
        return x

    def inverse(self, x: Array) -> Array:
        """Add the offset again, as precisely as float32 allows."""
        return x + jnp.asarray(self.offset, x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))

    def describe(self, feature: Feature) -> Feature:
        """Return the feature as float32."""
        return replace(feature, dtype="float32")

    def to_json(self) -> dict[str, list[float]]:
        """Return the offsets."""
        return {"offset": self.offset.tolist()}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Offset":
        """Rebuild the offsets, float64 [columns]."""
        offset = np.asarray(saved["offset"], np.float64)
        if offset.ndim != 1 or not np.isfinite(offset).all():
            raise ValueError("offset must be a list of finite numbers")
        return cls(offset)
