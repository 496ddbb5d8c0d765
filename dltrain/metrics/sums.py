"""Sums, counts and sums of squares beyond float32 and int32, and the mask of the values that count."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dltrain.types import Array, Batch


def widened(x: Array) -> Array:
    """Convert to at least float32."""
    x = jnp.asarray(x)
    wide = jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize >= 4
    return x if wide else x.astype(jnp.float32)


class Sum(NamedTuple):
    """A sum and the accumulated rounding error."""

    total: Array
    lost: Array


def zero_sum(shape: tuple[int, ...] = ()) -> Sum:
    """Return a sum of zero, for scalars or arrays of this shape."""
    return Sum(jnp.zeros(shape), jnp.zeros(shape))


def plus(sum_: Sum, values: Array) -> Sum:
    """Add one more term, keeping the rounding error exactly (Knuth's two-sum)."""
    values = values.astype(sum_.total.dtype)
    total = sum_.total + values
    back = total - sum_.total
    error = (sum_.total - (total - back)) + (values - back)
    return Sum(total, sum_.lost + jnp.where(jnp.isinf(total), 0, error))


def host(sum_: Sum) -> np.ndarray:
    """Return the sum in float64."""
    return np.asarray(sum_.total, np.float64) + np.asarray(sum_.lost, np.float64)


class Count(NamedTuple):
    """A count of up to 2^63, as its low and high 32 bits: int32 overflows at 2^31 pixels or tokens of one class."""

    low: Array
    high: Array


def zero_count(shape: tuple[int, ...] = ()) -> Count:
    """Return a count of zero, for scalars or arrays of this shape."""
    return Count(jnp.zeros(shape, jnp.uint32), jnp.zeros(shape, jnp.uint32))


def count_more(count: Count, more: Array) -> Count:
    """Add the counts of one batch, int32, 0 or more."""
    low = count.low + more.astype(jnp.uint32)
    return Count(low, count.high + (low < count.low).astype(jnp.uint32))


def as_float(count: Count, dtype: jnp.dtype) -> Array:
    """Return a count in floating point, on the device."""
    return count.high.astype(dtype) * jnp.asarray(2.0**32, dtype) + count.low.astype(dtype)


def whole(count: Count) -> np.ndarray:
    """Return a count as int64."""
    return (np.asarray(count.high, np.int64) << 32) + np.asarray(count.low, np.int64)


class Squares(NamedTuple):
    """A sum of squares, in units of `unit`²: powers of two that grow with the values.

    In float32 the square of 2e19 overflows, and that of 1e-23 is zero.
    """

    unit: Array
    sum: Sum


def zero_squares(shape: tuple[int, ...] = ()) -> Squares:
    """Return a sum of zero."""
    return Squares(jnp.zeros(shape), zero_sum(shape))


def make_room(squares: Squares, largest: Array) -> tuple[Squares, Array]:
    """Return the same sum in a unit that suits values up to `largest`, and the unit as a divisor."""
    tiny = float(np.finfo(np.float32).tiny)
    exponent = jnp.frexp(jnp.maximum(largest, tiny))[1] - 1
    near = jnp.where(jnp.isfinite(largest), jnp.ldexp(jnp.ones_like(largest), exponent), 1)
    unit = jnp.maximum(squares.unit, jnp.where(largest == 0, 0, near).astype(squares.unit.dtype))
    divisor = jnp.where(unit > 0, unit, 1)
    by = jnp.square(squares.unit / divisor)  # exact: powers of two
    return Squares(unit, Sum(squares.sum.total * by, squares.sum.lost * by)), divisor


def plus_squares(squares: Squares, values: Array) -> Squares:
    """Add the squares of values [B, ...], summed over the first axis."""
    squares, unit = make_room(squares, jnp.abs(values).max(0))
    return Squares(squares.unit, plus(squares.sum, jnp.square(values.astype(unit.dtype) / unit[None]).sum(0)))


def host_squares(squares: Squares) -> np.ndarray:
    """Return the sum in float64."""
    return host(squares.sum) * np.square(np.asarray(squares.unit, np.float64))


def kept(values: Array, batch: Batch) -> Array:
    """Tell which values [B] or [B, L] count: bool of their shape, from `mask [B]` and `loss_mask [B, L]`."""
    mask = jnp.asarray(batch["mask"]).astype(bool)
    mask = jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (values.ndim - 1)), values.shape)
    if values.ndim > 1 and "loss_mask" in batch:
        mask = mask & jnp.asarray(batch["loss_mask"]).astype(bool)
    return mask
