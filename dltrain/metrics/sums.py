"""Sums that keep what float32 rounds away, and which rows of a batch are real."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dltrain.types import Array, Batch


def widened(x: Array) -> Array:
    """Float32 at least."""
    x = jnp.asarray(x)
    wide = jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize >= 4
    return x if wide else x.astype(jnp.float32)


class Sum(NamedTuple):
    """A running sum and what rounding has lost from it so far."""

    total: Array
    lost: Array


def zero_sum(shape: tuple[int, ...] = ()) -> Sum:
    """Return the empty sum, of one number or of an array of them."""
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
    """Which of the values [B] or [B, L] count: bool of their shape, from `mask [B]` and `loss_mask [B, L]`."""
    mask = jnp.asarray(batch["mask"]).astype(bool)
    mask = jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (values.ndim - 1)), values.shape)
    if values.ndim > 1 and "loss_mask" in batch:
        mask = mask & jnp.asarray(batch["loss_mask"]).astype(bool)
    return mask
