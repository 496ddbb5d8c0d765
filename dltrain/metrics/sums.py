"""Sums with compensation for float32 rounding, and the mask of the values that count."""

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
    return Sum(total, sum_.lost + error)


def host(sum_: Sum) -> np.ndarray:
    """Return the sum in float64."""
    return np.asarray(sum_.total, np.float64) + np.asarray(sum_.lost, np.float64)


def kept(values: Array, batch: Batch) -> Array:
    """Tell which values [B] or [B, L] count: bool of their shape, from `mask [B]` and `loss_mask [B, L]`."""
    mask = jnp.asarray(batch["mask"]).astype(bool)
    mask = jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (values.ndim - 1)), values.shape)
    if values.ndim > 1 and "loss_mask" in batch:
        mask = mask & jnp.asarray(batch["loss_mask"]).astype(bool)
    return mask
