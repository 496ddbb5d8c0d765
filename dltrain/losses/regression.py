"""Regression losses: outputs and targets [B, T], the mean over the T outputs of an example."""

import jax.numpy as jnp

from dltrain.losses.targets import check_range, example_mean, paired
from dltrain.types import Array, Batch


def mse(outputs: Array, batch: Batch, *, half: bool = False) -> Array:
    """`(ŷ-y)²`, or ½(ŷ-y)² with `half`: [B, T] -> [B]. Classes int [B] with outputs [B, K] count as one-hot.

    The square of an error above 1.8e19 overflows in float32: the value is infinite there, the gradient is not.
    """
    outputs, targets = paired("mse", outputs, batch)
    values = example_mean(jnp.square(outputs - targets))
    return values / 2 if half else values


def mae(outputs: Array, batch: Batch) -> Array:
    """`|ŷ-y|`: [B, T] -> [B]."""
    outputs, targets = paired("mae", outputs, batch)
    return example_mean(jnp.abs(outputs - targets))


def huber(outputs: Array, batch: Batch, *, delta: float = 1.0) -> Array:
    """`½e²` for |e| ≤ δ, else `δ(|e| - δ/2)`: [B, T] -> [B]. δ is in the unit of the targets."""
    outputs, targets = paired("huber", outputs, batch)
    edge = jnp.asarray(delta, outputs.dtype)
    size = jnp.abs(outputs - targets)
    inside = jnp.minimum(size, edge)
    return example_mean(inside * inside / 2 + edge * (size - inside))


def log_cosh(outputs: Array, batch: Batch) -> Array:
    """`log cosh(ŷ-y)`: [B, T] -> [B]; like ½e² for small and |e| for large errors."""
    outputs, targets = paired("log_cosh", outputs, batch)
    error = outputs - targets
    return example_mean(jnp.logaddexp(error, -error) - jnp.log(jnp.asarray(2, error.dtype)))


def quantile(outputs: Array, batch: Batch, *, q: float = 0.5) -> Array:
    """`max(q e, (q-1) e)` with e = y-ŷ: [B, T] -> [B]; its minimum is the q-quantile (q = 0.5: half of `mae`)."""
    check_range("q", q, 0, 1)
    outputs, targets = paired("quantile", outputs, batch)
    part, error = jnp.asarray(q, outputs.dtype), targets - outputs
    return example_mean(jnp.maximum(part * error, (part - 1) * error))
