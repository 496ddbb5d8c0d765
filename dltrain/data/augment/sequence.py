"""Augmentation of sequences [B, L, F]; steps beyond the length of a sequence do not change."""

import jax
import jax.numpy as jnp

from dltrain.data.augment.inputs import UNSCALED, Border, black, check_at_most, lengths, sequences
from dltrain.data.preprocess import Affine
from dltrain.ranges import Count, Finite, Probability, Size
from dltrain.types import Array, Batch


def time_shift(
    batch: Batch, key: Array, *, steps: Count = 4, border: Border = Border.EDGE, scaled_by: Affine = UNSCALED
) -> Batch:
    """Shift by -steps..steps in time; `border` sets the values at the ends."""
    x = sequences("time_shift", batch, moves=True)
    check_at_most("steps", steps, x.shape[1])
    length = lengths(batch)[:, None]
    at = jnp.arange(x.shape[1], dtype=jnp.int32)[None, :]
    source = at - jax.random.randint(key, (len(x), 1), -steps, steps + 1)
    outside = (source < 0) | (source >= length)
    if border is Border.REFLECT:
        period = jnp.maximum(2 * (length - 1), 1)
        source = jnp.minimum(source % period, period - source % period)
    taken = jnp.take_along_axis(x, jnp.clip(source, 0, jnp.maximum(length - 1, 0))[..., None], axis=1)
    if border is Border.ZERO:
        taken = jnp.where(outside[..., None], black(x, scaled_by), taken)
    return {**batch, "inputs": jnp.where((at < length)[..., None], taken, x)}


def masking(batch: Batch, key: Array, *, share: Probability = 0.15, span: Size = 1, fill: Finite = 0.0) -> Batch:
    """Cover a share of the time steps with `fill`, in spans of `span` steps that may overlap.

    `fill` is in the unit of the scaled inputs: with `scale=standard` 0 is the mean.
    """
    x = sequences("masking", batch)
    check_at_most("span", span, x.shape[1])
    # A step is visible if none of the `span` spans that would cover it starts.
    begins = jax.random.bernoulli(key, 1 - (1 - share) ** (1 / span), (len(x), x.shape[1] + span - 1))
    covered = jax.lax.reduce_window(begins, False, jax.lax.bitwise_or, (1, span), (1, 1), "valid")
    real = jnp.arange(x.shape[1], dtype=jnp.int32)[None, :] < lengths(batch)[:, None]
    return {**batch, "inputs": jnp.where((covered & real)[..., None], jnp.asarray(fill, x.dtype), x)}
