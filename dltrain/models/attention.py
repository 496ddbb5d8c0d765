"""Attention over the steps of a sequence: scores to weights, and where a mask leaves none."""

import jax
import jax.numpy as jnp

from dltrain.types import Array


def steps_of(lengths: Array, count: int) -> Array:
    """Which steps are there, int [B] -> bool [B, count]; one at least, so that a padding row stays finite."""
    return jnp.arange(count)[None, :] < jnp.maximum(lengths, 1)[:, None]


def weights_of(scores: Array, mask: Array | None) -> Array:
    """Return weights that sum to 1 over the last axis, in float32 at least; 0 where the mask is False."""
    scores = scores if scores.dtype.itemsize >= 4 else scores.astype(jnp.float32)
    scores = scores if mask is None else jnp.where(mask, scores, -jnp.inf)
    return jax.nn.softmax(scores, axis=-1)
