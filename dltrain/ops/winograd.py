"""Convolution with a 3x3 kernel and stride 1 in fewer multiplications: Winograd's minimal filtering F(2x2, 3x3).

Lavin & Gray, Fast Algorithms for Convolutional Neural Networks, 2016, https://arxiv.org/abs/1509.09308. A tile of
2x2 outputs comes from a tile of 4x4 inputs. Along one axis inputs d0 .. d3 and the kernel k0 .. k2 are transformed
to

    d0 - d2, d1 + d2, d2 - d1, d1 - d3    and    k0, (k0 + k1 + k2) / 2, (k0 - k1 + k2) / 2, k2,

and their four products m0 .. m3 give the outputs m0 + m1 + m2 and m1 - m2 - m3: 4 multiplications instead of 6, and
16 instead of 36 for two axes. Gradients apply the transposed transforms.

A table is 4x4 (or 2x2, or 3x3) arrays: the values at each position of a tile, for all T·S tiles of an image. H and
W are the sizes of the output: 2T and 2S, or one less.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array
Table = Sequence[Sequence[Array]]


def convolve(x: Array, kernel: Array, precision: Any = None) -> Array:
    """Convolve: x [B, 2T + 2, 2S + 2, C], kernel [3, 3, C, K] -> [B, 2T, 2S, K]."""
    products = _each(lambda v, w: jnp.matmul(v, w, precision=precision), _tiles(x), _transformed(kernel))
    (a, b), (c, d) = _twice(lambda m0, m1, m2, m3: (m0 + m1 + m2, m1 - m2 - m3), products)
    y = jnp.stack([jnp.stack([a, b], 3), jnp.stack([c, d], 3)], 2)  # [B, T, 2, S, 2, K]
    return y.reshape(y.shape[0], 2 * y.shape[1], 2 * y.shape[3], y.shape[5])


def input_gradient(dy: Array, kernel: Array, precision: Any = None) -> Array:
    """Return the gradient of x: dy [B, H, W, K], kernel [3, 3, C, K] -> [B, 2T + 2, 2S + 2, C]."""
    products = _each(lambda v, w: jnp.matmul(v, w.T, precision=precision), _spread(dy), _transformed(kernel))
    tiles = _twice(lambda v0, v1, v2, v3: (v0, v1 - v2 + v3, v1 + v2 - v0, -v3), products)
    rows = [_overlapped(*row) for row in tiles]
    b, t, w, c = rows[0].shape
    dx = jnp.zeros((b, t + 1, 2, w, c), dy.dtype)
    for i, row in enumerate(rows):  # in place: each consumer would recompute a sum (17 instead of 2 ms)
        dx = dx.at[:, i // 2 : i // 2 + t, i % 2].add(row)
    return dx.reshape(b, 2 * t + 2, w, c)


def kernel_gradient(x: Array, dy: Array, precision: Any = None) -> Array:
    """Return the gradient of the kernel: x [B, 2T + 2, 2S + 2, C], dy [B, H, W, K] -> [3, 3, C, K]."""

    def product(v: Array, w: Array) -> Array:
        return jnp.matmul(v.reshape(-1, v.shape[-1]).T, w.reshape(-1, w.shape[-1]), precision=precision)

    products = _each(product, _tiles(x), _spread(dy))
    table = _twice(lambda u0, u1, u2, u3: (u0 + (u1 + u2) / 2, (u1 - u2) / 2, (u1 + u2) / 2 + u3), products)
    return jnp.stack([jnp.stack(row) for row in table])


def _tiles(x: Array) -> Table:
    """Transform the inputs: 4x4 of [B, T, S, C]."""
    return [_differences(row, 2) for row in _differences(x, 1)]


def _differences(x: Array, axis: int) -> tuple[Array, ...]:
    last = x.shape[axis] - 3  # start of the last tile, plus one
    d0, d1, d2, d3 = (lax.slice_in_dim(x, i, i + last, 2, axis) for i in range(4))
    return d0 - d2, d1 + d2, d2 - d1, d1 - d3


def _transformed(kernel: Array) -> Table:
    """Transform the kernel: 4x4 of [C, K]."""
    table = [list(row) for row in kernel]
    return _twice(lambda k0, k1, k2: (k0, (k0 + k1 + k2) / 2, (k0 - k1 + k2) / 2, k2), table)


def _spread(dy: Array) -> Table:
    """Transform the gradients of the outputs to those of the products: 4x4 of [B, T, S, K], padded with zeros."""
    b, h, w, k = dy.shape
    t, s = (h + 1) // 2, (w + 1) // 2
    # Written into an array with room for one more tile: otherwise XLA recomputes `dy` for each of the sixteen
    # (resnet20: 168 ms per step, and 185 without).
    dy = lax.dynamic_update_slice(jnp.zeros((b, 2 * t + 2, 2 * s, k), dy.dtype), dy, (0, 0, 0, 0))
    dy = dy.reshape(b, t + 1, 2, s, 2, k)
    cut = [[dy[:, :t, i, :, j] for j in range(2)] for i in range(2)]
    return _twice(lambda y0, y1: (y0, y0 + y1, y0 - y1, -y1), cut)


def _overlapped(d0: Array, d1: Array, d2: Array, d3: Array) -> Array:
    """Sum tiles of 4 columns that start 2 apart: four of [B, T, S, C] -> [B, T, 2S + 2, C]."""

    def padded(part: Array, before: int, after: int) -> Array:
        return jnp.pad(part, [(0, 0), (0, 0), (before, after), (0, 0)])

    both = padded(d0, 0, 1) + padded(d2, 1, 0), padded(d1, 0, 1) + padded(d3, 1, 0)
    b, t, s, c = d0.shape
    return jnp.stack(both, 3).reshape(b, t, 2 * s + 2, c)


def _each(form: Callable[[Array, Array], Array], left: Table, right: Table) -> Table:
    return [[form(*pair) for pair in zip(*rows, strict=True)] for rows in zip(left, right, strict=True)]


def _twice(transform: Callable[..., Iterable[Array]], table: Table) -> Table:
    """Transform each row of a table, then each column."""
    rows = [transform(*row) for row in table]
    return list(zip(*(transform(*column) for column in zip(*rows, strict=True)), strict=True))
