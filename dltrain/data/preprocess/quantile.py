"""Scaling of columns to a normal distribution by their quantiles: no value is far away from the others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from dltrain.data.preprocess.sample import Sample
from dltrain.types import Array

MOST = 512
"""Quantiles of a column that are kept; of fewer examples as many as there are."""
EDGE = 1e-7
"""Smallest part of the examples below a value: scaled values stay between -5.2 and 5.2."""


@dataclass(frozen=True)
class Quantiles:
    """A fitted step: the part of the training examples below a value, as a standard normal variable.

    Between two quantiles the part rises linearly. A value that several quantiles have in common is in their middle,
    so that a column of mostly zeros keeps its other values apart; a constant column becomes 0.
    """

    values: np.ndarray  # float32 [Q, columns], rising

    def fit(self, blocks: Iterable[np.ndarray]) -> "Quantiles":
        """Return the step itself: its numbers are given."""
        del blocks
        return self

    def forward(self, x: Array) -> Array:
        """Scale, [B, ..., columns] of any dtype -> float32 between -5.2 and 5.2."""
        parts = jnp.linspace(0.0, 1.0, len(self.values))

        def column(x: Array, values: Array) -> Array:
            below = jnp.interp(x, values, parts)
            above = jnp.interp(-x, -values[::-1], parts)  # 1 - the part, counted from the other end
            return (below + 1 - above) / 2

        flat = x.astype(jnp.float32).reshape(-1, x.shape[-1])
        part = jax.vmap(column, (1, 1), 1)(flat, jnp.asarray(self.values))
        return ndtri(jnp.clip(part, EDGE, 1 - EDGE)).reshape(x.shape)

    def inverse(self, x: Array) -> Array:
        """Undo `forward`, float32; outside of the training examples the nearest one of them is returned."""
        parts = jnp.linspace(0.0, 1.0, len(self.values))
        flat = ndtr(x).reshape(-1, x.shape[-1])
        found = jax.vmap(lambda part, values: jnp.interp(part, parts, values), (1, 1), 1)(
            flat, jnp.asarray(self.values)
        )
        return found.reshape(x.shape)

    def to_json(self) -> dict[str, Any]:
        """Return the quantiles as lists: a float32 is exact as a float64, which JSON keeps."""
        return {"values": self.values.tolist()}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Quantiles":
        """Rebuild the quantiles, float32 [Q, columns], bit for bit."""
        values = np.asarray(saved["values"], np.float32)
        table = values.ndim == 2 and len(values) > 1
        if not table or not np.isfinite(values).all() or (np.diff(values, axis=0) < 0).any():
            raise ValueError("values must be two or more lists of finite numbers that rise in each column")
        return cls(values)


@dataclass(frozen=True)
class QuantileScaler:
    """A step that fits the quantiles of each column, [..., columns].

    Of more than a million rows, they are those of a fixed sample (`sample.py`). Gorishniy et al., arXiv:2203.05556,
    scale tables in this way for periodic embeddings.
    """

    def fit(self, blocks: Iterable[np.ndarray]) -> Quantiles:
        """Fit on blocks of examples, [n, ..., columns], in one pass."""
        sample = Sample()
        for block in blocks:
            sample.add(block.reshape(-1, block.shape[-1]))
        rows = sample.rows().astype(np.float64)
        parts = np.linspace(0, 1, max(2, min(MOST, len(rows))))
        found = np.quantile(rows, parts, axis=0).astype(np.float32)
        return Quantiles(np.maximum.accumulate(found, axis=0))

    def to_json(self) -> dict[str, Any]:
        """Return the options, of which there are none."""
        return {}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "QuantileScaler":
        """Rebuild the step that is not fitted yet."""
        del saved
        return cls()
