"""Scaling of the columns of a table or the channels of an image, inside the compiled program."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jax.numpy as jnp
import numpy as np

from dltrain.data.preprocess.moments import Moments
from dltrain.types import Array


class Scale(StrEnum):
    """How inputs are scaled."""

    NONE = "none"
    UNIT = "unit"  # [0, 1]
    SYMMETRIC = "symmetric"  # [-1, 1]
    STANDARD = "standard"  # zero mean, unit variance; regression targets too
    ROBUST = "robust"  # median 0, interquartile range 1, smoothly clipped at 3; regression targets standardised
    QUANTILE = "quantile"  # a normal distribution, by quantiles; regression targets standardised

    @property
    def standardizes_targets(self) -> bool:
        """Whether regression targets are standardised, too."""
        return self in (Scale.STANDARD, Scale.ROBUST, Scale.QUANTILE)

    @property
    def is_for_columns(self) -> bool:
        """Whether it is meant for columns of numbers, which have outliers."""
        return self in (Scale.ROBUST, Scale.QUANTILE)


@dataclass(frozen=True)
class Affine:
    """A fitted step: `(x - shift) / scale`, with arrays that broadcast against a batch on its last axis."""

    shift: np.ndarray
    scale: np.ndarray

    def fit(self, blocks: Iterable[np.ndarray]) -> "Affine":
        """Return the step itself: its numbers are given."""
        del blocks
        return self

    def forward(self, x: Array) -> Array:
        """Scale, [B, ...] of any dtype -> float32 [B, ...]."""
        return (x.astype(jnp.float32) - _over(self.shift, x.ndim)) / _over(self.scale, x.ndim)

    def inverse(self, x: Array) -> Array:
        """Undo `forward`, float32 [B, ...] -> [B, ...]."""
        return x * _over(self.scale, x.ndim) + _over(self.shift, x.ndim)

    def to_json(self) -> dict[str, list[float]]:
        """Return both arrays as lists: a float32 is exact as a float64, which JSON keeps."""
        return {"shift": self.shift.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Affine":
        """Rebuild the arrays, float32 [columns], bit for bit."""
        shift, scale = (np.asarray(saved[name], np.float32) for name in ("shift", "scale"))
        fits = shift.ndim == 1 and shift.shape == scale.shape
        if not fits or not np.isfinite([shift, scale]).all() or not scale.all():
            raise ValueError(
                "shift and scale must be two lists of finite numbers, of equal length, and scale must not contain 0"
            )
        return cls(shift, scale)


@dataclass(frozen=True)
class Scaler:
    """A step that fits the shift and scale of each column, [..., columns]; a constant column is only shifted.

    Args:
        kind: standard (zero mean, unit variance), unit ([0, 1]), symmetric ([-1, 1]) or none; robust and
            quantile are steps of their own (`robust.py`, `quantile.py`).
        together: whether all columns share one range: the channels of an image keep their proportion.
    """

    kind: Scale = Scale.STANDARD
    together: bool = False

    def fit(self, blocks: Iterable[np.ndarray]) -> Affine:
        """Fit on blocks of examples, [n, ..., columns]; with `kind=none` only one is read."""
        moments = Moments()
        for block in blocks:
            if self.kind is Scale.NONE:
                return _affine(np.zeros(block.shape[-1]), np.ones(block.shape[-1]))
            moments.add(block)
        if self.kind is Scale.STANDARD:
            return _affine(moments.mean, moments.deviation)
        low, high = moments.low, moments.high
        if self.together:
            low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
        if self.kind is Scale.SYMMETRIC:
            return _affine((low + high) / 2, (high - low) / 2)
        return _affine(low, high - low)

    def to_json(self) -> dict[str, Any]:
        """Return the options; what is fitted is an `Affine`."""
        return {"kind": str(self.kind), "together": self.together}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Scaler":
        """Rebuild the step that is not fitted yet."""
        return cls(Scale(saved["kind"]), bool(saved["together"]))


def _affine(shift: np.ndarray, size: np.ndarray) -> Affine:
    return Affine(shift.astype(np.float32), np.where(size > 0, size, 1.0).astype(np.float32))


def _over(values: np.ndarray, ndim: int) -> np.ndarray:
    return values.reshape((1,) * (ndim - 1) + values.shape)
