"""Curves over the progress of training, 0 to 1, that schedules and models share."""

import jax.numpy as jnp

from dltrain.types import Array


def flat_cosine(progress: Array) -> Array:
    """1 in the first half, then half a cosine down to 0. RealMLP: Holzmüller et al., arXiv:2407.04491."""
    return (1 + jnp.cos(jnp.pi * jnp.clip(2 * progress - 1, 0, 1))) / 2
