"""Attention over the steps of a sequence: masks from lengths, and weights from scores."""

import jax
import jax.numpy as jnp

from dltrain.types import Array


def steps_of(lengths: Array, count: int) -> Array:
    """Return which steps are valid, int [B] -> bool [B, count]; at least one, so that padding stays finite."""
    return jnp.arange(count)[None, :] < jnp.maximum(lengths, 1)[:, None]


def weights_of(scores: Array, mask: Array | None) -> Array:
    """Return weights that sum to 1 over the last axis, at least in float32; 0 where the mask is False."""
    scores = scores if scores.dtype.itemsize >= 4 else scores.astype(jnp.float32)
    scores = scores if mask is None else jnp.where(mask, scores, -jnp.inf)
    return jax.nn.softmax(scores, axis=-1)
