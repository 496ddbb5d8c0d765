"""Scaling of columns that outliers hardly affect: median, interquartile range, and a smooth clip."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from dltrain.data.preprocess.sample import Sample
from dltrain.types import Array

BOUND = 3.0
"""Bound of scaled values: `z / sqrt(1 + (z / 3)²)` is about z near 0 and stays between -3 and 3."""
INSIDE = 1 - 1e-6
"""Largest part of the bound that `inverse` takes a value for."""


@dataclass(frozen=True)
class Robust:
    """A fitted step: `z = (x - median) · factor`, then the smooth clip; a column with factor 0 is always 0."""

    median: np.ndarray
    factor: np.ndarray

    def fit(self, blocks: Iterable[np.ndarray]) -> "Robust":
        """Return the step itself: its numbers are given."""
        del blocks
        return self

    def forward(self, x: Array) -> Array:
        """Scale, [B, ..., columns] of any dtype -> float32 between -3 and 3."""
        z = (x.astype(jnp.float32) - _over(self.median, x.ndim)) * _over(self.factor, x.ndim)
        # z / sqrt(1 + (z/3)²) without the square of a large z, which is infinite
        large = jnp.abs(z) > BOUND
        r = jnp.where(large, BOUND / jnp.where(large, z, 1), z / BOUND)
        return BOUND * jnp.where(large, jnp.sign(z), r) / jnp.sqrt(1 + r * r)

    def inverse(self, x: Array) -> Array:
        """Undo `forward`, float32; a value outside of the bound counts as the largest inside of it."""
        y = jnp.clip(x / BOUND, -INSIDE, INSIDE)
        z = BOUND * y / jnp.sqrt(1 - y * y)
        factor = _over(self.factor, x.ndim)
        spread = jnp.where(factor > 0, 1 / jnp.where(factor > 0, factor, 1), 0)
        return z * spread + _over(self.median, x.ndim)

    def to_json(self) -> dict[str, list[float]]:
        """Return both arrays as lists: a float32 is exact as a float64, which JSON keeps."""
        return {"median": self.median.tolist(), "factor": self.factor.tolist()}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Robust":
        """Rebuild the arrays, float32 [columns], bit for bit."""
        median, factor = (np.asarray(saved[name], np.float32) for name in ("median", "factor"))
        fits = median.ndim == 1 and median.shape == factor.shape
        if not fits or not np.isfinite([median, factor]).all() or (factor < 0).any():
            raise ValueError(
                "median and factor must be two lists of finite numbers, of equal length, and factor 0 or more"
            )
        return cls(median, factor)


@dataclass(frozen=True)
class RobustScaler:
    """A step that fits the median and the interquartile range of each column, [..., columns].

    Where the quartiles are equal, half of the range between minimum and maximum takes their place; a constant
    column becomes 0. Of more than a million rows, quartiles are those of a fixed sample (`sample.py`). Holzmüller
    et al., Better by Default, arXiv:2407.04491.

    Args:
        together: whether all columns share median and range, as the channels of an image do.
    """

    together: bool = False

    def fit(self, blocks: Iterable[np.ndarray]) -> Robust:
        """Fit on blocks of examples, [n, ..., columns], in one pass."""
        sample, columns, low, high = Sample(), 0, np.inf, -np.inf
        for block in blocks:
            columns = block.shape[-1]
            rows = block.reshape(-1, 1 if self.together else columns)
            low, high = np.minimum(low, rows.min(0)), np.maximum(high, rows.max(0))
            sample.add(rows)
        first, median, third = np.quantile(sample.rows().astype(np.float64), [0.25, 0.5, 0.75], axis=0)
        spread = np.where(third > first, third - first, (np.float64(high) - low) / 2)
        with np.errstate(over="ignore"):
            factor = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0).astype(np.float32)
        factor = np.where(np.isfinite(factor), factor, 0).astype(np.float32)
        shape = (columns,)
        return Robust(*(np.broadcast_to(a, shape).astype(np.float32) for a in (median, factor)))

    def to_json(self) -> dict[str, Any]:
        """Return the option; what is fitted is a `Robust`."""
        return {"together": self.together}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "RobustScaler":
        """Rebuild the step that is not fitted yet."""
        return cls(bool(saved["together"]))


def _over(values: np.ndarray, ndim: int) -> np.ndarray:
    return values.reshape((1,) * (ndim - 1) + values.shape)
