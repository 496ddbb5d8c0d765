"""Embeddings of columns of numbers: each number becomes several, before the first layer of a model."""

from enum import StrEnum
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dltrain.types import Array, Feature


class Embedding(StrEnum):
    """How the columns of numbers are embedded."""

    NONE = "none"
    PLR = "plr"  # periodic, linear, ReLU
    PLE = "ple"  # piecewise linear, in quantile bins
    PBLD = "pbld"  # periodic with bias, linear, next to the number itself


class Periodic(nnx.Module):
    """PLR, the lite form: `relu(W [cos 2πcx, sin 2πcx] + b)`, W for all columns, [B, C] -> [B, C·24].

    The frequencies c of each column are learned; initially normal with a deviation of 0.01, cut off at 3
    deviations. Gorishniy, Rubachev and Babenko, On embeddings for numerical features, arXiv:2203.05556, and the
    defaults of their package rtdl_num_embeddings.
    """

    FREQUENCIES, SIZE, DEVIATION = 48, 24, 0.01

    def __init__(self, columns: int, *, deviation: float = DEVIATION, rngs: nnx.Rngs) -> None:
        """Draw frequencies and weights."""
        drawn = jax.random.truncated_normal(rngs.params(), -3, 3, (columns, self.FREQUENCIES))
        self.frequencies = nnx.Param(deviation * drawn)
        bound = (2 * self.FREQUENCIES) ** -0.5
        self.kernel = nnx.Param(_uniform(rngs, (2 * self.FREQUENCIES, self.SIZE), bound))
        self.bias = nnx.Param(_uniform(rngs, (self.SIZE,), bound))
        self.size = columns * self.SIZE

    def __call__(self, x: Array) -> Array:
        """Embed scaled numbers, [B, C]."""
        angles = 2 * jnp.pi * x[:, :, None] * self.frequencies[...][None]
        waves = jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)
        return jax.nn.relu(waves @ self.kernel[...] + self.bias[...][None, None]).reshape(x.shape[0], -1)


class PeriodicBias(nnx.Module):
    """PBLD: `[W cos(2πcx + p) + b, x]` with weights of each column of its own, [B, C] -> [B, C·4].

    16 frequencies c per column, initially normal with a deviation of 0.1, and phases p in -π..π. Holzmüller,
    Grinsztajn and Steinwart, Better by Default, arXiv:2407.04491.
    """

    FREQUENCIES, SIZE, DEVIATION = 16, 4, 0.1

    def __init__(self, columns: int, *, deviation: float = DEVIATION, rngs: nnx.Rngs) -> None:
        """Draw frequencies, phases and weights."""
        self.frequencies = nnx.Param(deviation * jax.random.normal(rngs.params(), (columns, self.FREQUENCIES)))
        self.phases = nnx.Param(_uniform(rngs, (columns, self.FREQUENCIES), jnp.pi))
        bound = self.FREQUENCIES**-0.5
        self.kernel = nnx.Param(_uniform(rngs, (columns, self.FREQUENCIES, self.SIZE - 1), bound))
        self.bias = nnx.Param(_uniform(rngs, (columns, self.SIZE - 1), bound))
        self.size = columns * self.SIZE

    def __call__(self, x: Array) -> Array:
        """Embed scaled numbers, [B, C]."""
        waves = jnp.cos(2 * jnp.pi * x[:, :, None] * self.frequencies[...][None] + self.phases[...][None])
        linear = jnp.einsum("bcf,cfs->bcs", waves, self.kernel[...]) + self.bias[...][None]
        return jnp.concatenate([linear, x[:, :, None]], -1).reshape(x.shape[0], -1)


class PiecewiseLinear(nnx.Module):
    """PLE: a linear map of the number plus one of its position in each bin, [B, C] -> [B, C·16].

    The position in a bin is 0 below it, 1 above it and linear inside it, but goes on beyond the first and the last
    bin. The weights of the positions begin at 0 (version B of rtdl_num_embeddings). Gorishniy et al.,
    arXiv:2203.05556.
    """

    SIZE = 16

    def __init__(self, feature: Feature, *, rngs: nnx.Rngs) -> None:
        """Take the bins from the data; ValueError if it has none."""
        if not feature.bins:
            raise ValueError("embedding=ple: the data has no bins of its columns")
        columns, self.edges = len(feature.bins), feature.bins
        most = max(len(edges) for edges in self.edges) - 1
        self.linear = nnx.Param(_uniform(rngs, (columns, self.SIZE), 1.0))
        self.bias = nnx.Param(_uniform(rngs, (columns, self.SIZE), 1.0))
        self.kernel = nnx.Param(jnp.zeros((columns, most, self.SIZE)))
        self.size = columns * self.SIZE

    def __call__(self, x: Array) -> Array:
        """Embed scaled numbers, [B, C]."""
        kernel = self.kernel[...]
        positions = piecewise(x, self.edges).astype(kernel.dtype)
        linear = x[:, :, None] * self.linear[...][None] + self.bias[...][None]
        return (linear + jnp.einsum("bcn,cns->bcs", positions, kernel)).reshape(x.shape[0], -1)


def piecewise(x: Array, edges: tuple[tuple[float, ...], ...]) -> Array:
    """Return the position of each number in each bin of its column, [B, C] -> [B, C, bins]; 0 without a bin."""
    most = max(len(column) for column in edges) - 1
    left, inverse = np.zeros((2, len(edges), most), np.float32)
    low, high = np.zeros((2, len(edges), most), np.float32)
    for i, column in enumerate(edges):
        count = len(column) - 1
        left[i, :count], inverse[i, :count] = column[:-1], 1 / np.diff(column)
        high[i, :count] = 1
        low[i, 0], high[i, count - 1] = -np.inf, np.inf
    ours = (x[:, :, None].astype(jnp.float32) - left[None]) * inverse[None]
    return jnp.clip(ours, low[None], high[None])


def make_embedding(kind: Embedding, feature: Feature, *, rngs: nnx.Rngs, frequency: float | None = None) -> Any:
    """Build the embedding of a feature of numbers, which has a `size`; None for `none`."""
    match kind:
        case Embedding.NONE:
            return None
        case Embedding.PLR:
            return Periodic(feature.size, deviation=frequency or Periodic.DEVIATION, rngs=rngs)
        case Embedding.PLE:
            return PiecewiseLinear(feature, rngs=rngs)
        case Embedding.PBLD:
            return PeriodicBias(feature.size, deviation=frequency or PeriodicBias.DEVIATION, rngs=rngs)


def _uniform(rngs: nnx.Rngs, shape: tuple[int, ...], bound: float) -> Array:
    return jax.random.uniform(rngs.params(), shape, minval=-bound, maxval=bound)
