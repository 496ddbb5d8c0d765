"""Metrics of models that need no targets."""

from collections.abc import Mapping

import jax.numpy as jnp

from dltrain.metrics.regression import mse
from dltrain.types import Array, Batch


def disc_real_accuracy(outputs: Mapping[str, Array], batch: Batch) -> Array:
    """1 where the discriminator takes a row of the data for real -> [B]."""
    del batch
    return (outputs["real"] > 0).astype(jnp.float32)


def disc_fake_accuracy(outputs: Mapping[str, Array], batch: Batch) -> Array:
    """1 where it takes a made row for real -> [B]; 0 is a beaten generator."""
    del batch
    return (outputs["fake"] > 0).astype(jnp.float32)


def reconstruction_error(outputs: Mapping[str, Array] | Array, batch: Batch) -> Array:
    """Mean squared difference of a row and its reconstruction, both scaled -> [B]."""
    return mse(outputs["reconstruction"] if isinstance(outputs, Mapping) else outputs, batch)
