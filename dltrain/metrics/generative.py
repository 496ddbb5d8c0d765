"""Metrics of models without targets."""

from collections.abc import Mapping

import jax.numpy as jnp

from dltrain.metrics.regression import mse
from dltrain.types import Array, Batch


def disc_real_accuracy(outputs: Mapping[str, Array], batch: Batch) -> Array:
    """Return 1 where the discriminator classifies a real example as real -> [B]."""
    del batch
    return _called_real(outputs["real"])


def disc_fake_accuracy(outputs: Mapping[str, Array], batch: Batch) -> Array:
    """Return 1 where it classifies a generated example as real -> [B]; a mean of 0 is a failed generator."""
    del batch
    return _called_real(outputs["fake"])


def _called_real(logits: Array) -> Array:
    return jnp.where(jnp.isnan(logits), jnp.nan, (logits > 0).astype(jnp.float32))


def reconstruction_error(outputs: Mapping[str, Array] | Array, batch: Batch) -> Array:
    """Return the mean squared difference of an example and its reconstruction, both scaled -> [B]."""
    return mse(outputs["reconstruction"] if isinstance(outputs, Mapping) else outputs, batch)
