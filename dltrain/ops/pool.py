"""Pooling over windows with the semantics of `flax.nnx.max_pool` and `avg_pool`.

Hand-written, since the gradient of lax's pooling (select-and-scatter) is slow on a CPU.
"""

from collections.abc import Sequence
from functools import partial, reduce
from itertools import product
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dltrain.ops import lowering

Array = jax.Array
Padding = str | Sequence[tuple[int, int]]

# Windows with more taps use lax: the comparison is unrolled over taps, and each adds less. Time of value and
# gradient relative to lax's (28x28x32, batch 8, in a loop on 2 busy cores): maxima of 16 taps 0.06, of 25 that
# overlap 0.2, of 49 0.6; means of 25 that overlap 0.8.
_MOST_TAPS = 16


def max_pool(
    x: Array, window_shape: Sequence[int], strides: Sequence[int] | None = None, padding: Padding = "VALID"
) -> Array:
    """Return the maximum of each window: x [B, *spatial, C] -> [B, *windows, C].

    strides: 1 along every axis if None, as in flax. padding: "SAME", "VALID" or a pair per axis; padding is never
    the maximum. The gradient goes to the first maximum of a window in row-major order, as in lax and PyTorch; up to
    4x4 it supports reverse mode only (no `jax.jvp`).
    """
    window, strides, pads = _geometry(x, window_shape, strides, padding)
    if lowering.is_stock() or prod(window) > _MOST_TAPS or not jnp.issubdtype(x.dtype, jnp.floating):
        return _stock_max(x, window, strides, pads)
    return _max(x, window, strides, pads)


def avg_pool(
    x: Array,
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Padding = "VALID",
    count_include_pad: bool = False,
) -> Array:
    """Return the mean of each window: x [B, *spatial, C] -> [B, *windows, C].

    strides: 1 along every axis if None, as in flax. count_include_pad: count padding as zeros in the mean (the
    default of flax), or leave it out.
    """
    window, strides, pads = _geometry(x, window_shape, strides, padding)
    stock = partial(_stock_sum, window=window, strides=strides, pads=pads)
    if lowering.is_stock() or (window != strides and prod(window) > _MOST_TAPS):
        sums = stock(x)
    elif window == strides:
        sums = lax.platform_dependent(x, cpu=partial(_window_sum, window=window, pads=pads), default=stock)
    else:
        # Value and gradient: 1.6 ms, with lax 11.4 (3x3 windows, stride 2, 28x28x32, batch 128, loop, 2 cores).
        taps = partial(_taps, fill=0, window=window, strides=strides, pads=pads)
        sums = lax.platform_dependent(x, cpu=lambda x: reduce(jnp.add, taps(x)), default=stock)
    if count_include_pad or not any(low or high for low, high in pads):
        return sums / prod(window)
    return sums / stock(jnp.ones((1, *x.shape[1:-1], 1), x.dtype))


def _geometry(
    x: Array, window_shape: Sequence[int], strides: Sequence[int] | None, padding: Padding
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]:
    window = tuple(window_shape)
    strides = tuple(strides or (1,) * len(window))
    if not len(window) == len(strides) == x.ndim - 2:
        raise ValueError(
            f"window {window} and strides {strides} need {x.ndim - 2} entries each for inputs of shape {x.shape}"
        )
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:-1], window, strides, padding)
    return window, strides, tuple((int(low), int(high)) for low, high in padding)


def _stock_max(x: Array, window: tuple[int, ...], strides: tuple[int, ...], pads: tuple) -> Array:
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    return _reduce_window(x, lowest, lax.max, window, strides, pads)


def _stock_sum(x: Array, *, window: tuple[int, ...], strides: tuple[int, ...], pads: tuple) -> Array:
    return _reduce_window(x, 0, lax.add, window, strides, pads)


def _reduce_window(x: Array, start, operation, window, strides, pads) -> Array:
    edge = ((0, 0),)
    identity = np.array(
        start, x.dtype
    )  # must be a constant for lax to recognise its differentiable maximum and sum
    return lax.reduce_window(x, identity, operation, (1, *window, 1), (1, *strides, 1), (*edge, *pads, *edge))


def _windows(x: Array, fill: float, window: tuple[int, ...], pads: tuple) -> Array:
    """Split into windows that do not overlap: [B, H, W, C] -> [B, H/h, h, W/w, w, C]; a remainder is cut off."""
    counts = [(n + low + high) // k for n, (low, high), k in zip(x.shape[1:-1], pads, window, strict=True)]
    config = [
        (low, count * k - low - n, 0)
        for n, (low, _), k, count in zip(x.shape[1:-1], pads, window, counts, strict=True)
    ]
    x = lax.pad(x, jnp.full((), fill, x.dtype), [(0, 0, 0), *config, (0, 0, 0)])
    pairs = [size for pair in zip(counts, window, strict=True) for size in pair]
    return x.reshape(x.shape[0], *pairs, x.shape[-1])


def _inside(window: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes of `_windows` inside a window."""
    return tuple(range(2, 2 * len(window) + 1, 2))


def _window_sum(x: Array, *, window: tuple[int, ...], pads: tuple) -> Array:
    return _windows(x, 0.0, window, pads).sum(_inside(window))


def _taps(x: Array, *, fill: float, window: tuple[int, ...], strides: tuple[int, ...], pads: tuple) -> list[Array]:
    """Return the values at each position of the window, [B, *windows, C] each, in row-major order."""
    x = lax.pad(x, jnp.full((), fill, x.dtype), [(0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)])
    starts = [
        max(n - k + 1, 0) for n, k in zip(x.shape[1:-1], window, strict=True)
    ]  # number of possible window starts
    return [
        x[(slice(None), *(slice(t, t + room, s) for t, room, s in zip(tap, starts, strides, strict=True)))]
        for tap in product(*(range(k) for k in window))
    ]


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max(x: Array, window: tuple[int, ...], strides: tuple[int, ...], pads: tuple) -> Array:
    # A reduction, not a chain of `maximum`: XLA would fuse the chain into every consumer, and the next convolution
    # reads each value once per tap of its kernel. Where windows overlap, a chain behind a barrier: 0.9 ms instead
    # of 2.3 for lax's reduction (3x3 windows, stride 2, 28x28x32, batch 128, in a loop on 2 cores).
    def apart(x: Array) -> Array:
        return _windows(x, -jnp.inf, window, pads).max(_inside(window))

    def overlapping(x: Array) -> Array:
        taps = _taps(x, fill=-jnp.inf, window=window, strides=strides, pads=pads)
        return lax.optimization_barrier(reduce(jnp.maximum, taps))

    return lax.platform_dependent(
        x,
        cpu=apart if window == strides else overlapping,
        default=lambda x: _stock_max(x, window, strides, pads),
    )


def _max_forward(
    x: Array, window: tuple[int, ...], strides: tuple[int, ...], pads: tuple
) -> tuple[Array, tuple[Array, Array]]:
    y = _max(x, window, strides, pads)
    return y, (x, y)


def _max_backward(
    window: tuple[int, ...], strides: tuple[int, ...], pads: tuple, saved: tuple[Array, Array], dy: Array
) -> tuple[Array]:
    def stock(x: Array, y: Array, dy: Array) -> Array:
        del y
        return jax.vjp(lambda x: _stock_max(x, window, strides, pads), x)[1](dy)[0]

    cpu = partial(_to_first_maximum, window=window, pads=pads)
    if window != strides:
        cpu = partial(_sum_of_first_maxima, window=window, strides=strides, pads=pads)
    return (lax.platform_dependent(*saved, dy, cpu=cpu, default=stock),)


_max.defvjp(_max_forward, _max_backward)


def _to_first_maximum(x: Array, y: Array, dy: Array, *, window: tuple[int, ...], pads: tuple) -> Array:
    """Route each window's gradient to its first maximum, in one elementwise pass.

    A LeNet step takes 40 ms with this gradient and 51 ms with lax's select-and-scatter.
    """
    cut = _windows(x, -jnp.inf, window, pads)
    inside = [tuple(part for t in tap for part in (slice(None), t)) for tap in product(*(range(k) for k in window))]
    taps = [cut[(slice(None), *index)] for index in inside]
    first = _first(taps, y)

    shape = [k if axis in _inside(window) else 1 for axis, k in enumerate(cut.shape)]
    positions = jnp.arange(len(taps), dtype=jnp.int32).reshape(shape)
    wins = jnp.expand_dims(first, _inside(window)) == positions
    spread = jnp.where(wins, jnp.expand_dims(dy, _inside(window)), jnp.zeros((), dy.dtype))
    sizes = [count * k for count, k in zip(y.shape[1:-1], window, strict=True)]
    spread = spread.reshape(x.shape[0], *sizes, x.shape[-1])
    back = [(-low, n + low - size, 0) for n, (low, _), size in zip(x.shape[1:-1], pads, sizes, strict=True)]
    return lax.pad(spread, jnp.zeros((), dy.dtype), [(0, 0, 0), *back, (0, 0, 0)])


def _first(taps: list[Array], y: Array) -> Array:
    """Return the index of the first tap equal to the maximum y: int32, with the shape of y."""
    first = jnp.full(y.shape, len(taps) - 1, jnp.int32)
    for number, tap in reversed(list(enumerate(taps[:-1]))):
        first = jnp.where(tap == y, jnp.int32(number), first)
    return first


def _sum_of_first_maxima(
    x: Array, y: Array, dy: Array, *, window: tuple[int, ...], strides: tuple[int, ...], pads: tuple
) -> Array:
    """Route each window's gradient to its first maximum, and sum where windows overlap: elementwise, no scatter.

    The transpose of the taps adds the last tap first, that is, the first window first, as in lax. 2.1 ms, and 32 ms
    with lax's select-and-scatter (3x3 windows, stride 2, 28x28x32, batch 128, in a loop on 2 cores). Where windows
    do not overlap, this is slower than `_to_first_maximum`: 8 % of a LeNet step.
    """
    cut = partial(_taps, window=window, strides=strides, pads=pads)
    first = _first(cut(x, fill=-jnp.inf), y)
    parts = [jnp.where(first == number, dy, jnp.zeros((), dy.dtype)) for number in range(prod(window))]
    (dx,) = jax.linear_transpose(partial(cut, fill=0), jax.ShapeDtypeStruct(x.shape, x.dtype))(parts)
    return dx
