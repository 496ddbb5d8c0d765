"""Regression losses: outputs and targets [B, T], the mean over the T outputs of an example."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from dltrain.losses.outputs import takes
from dltrain.losses.targets import example_mean, misfit, paired, where_valid, widened
from dltrain.ranges import Positive, Probability, Traced
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


def huber(outputs: Array, batch: Batch, *, delta: Traced[Positive] = 1.0) -> Array:
    """`½e²` for |e| ≤ δ, else `δ(|e| - δ/2)`: [B, T] -> [B]. δ is in the unit of the targets."""
    outputs, targets = paired("huber", outputs, batch)
    edge = jnp.asarray(delta, outputs.dtype)
    size = jnp.abs(outputs - targets)
    # A select of whole formulas: with `minimum` in both terms, the gradient of a small error is a difference of δ.
    return example_mean(jnp.where(size <= edge, size * size / 2, edge * edge / 2 + edge * (size - edge)))


def log_cosh(outputs: Array, batch: Batch) -> Array:
    """`log cosh(ŷ-y)`: [B, T] -> [B]; like ½e² for small and |e| for large errors."""
    outputs, targets = paired("log_cosh", outputs, batch)
    return example_mean(_log_cosh(outputs - targets))


@jax.custom_jvp
def _log_cosh(x: Array) -> Array:
    """Return log cosh x; near 0 without the cancellation of log(eˣ + e⁻ˣ) - log 2, which is 0 below 1e-4."""
    size = jnp.abs(x)
    near = jnp.log1p(2 * jnp.square(jnp.sinh(jnp.minimum(size, 1) / 2)))
    far = size + jnp.log1p(jnp.exp(-2 * size)) - jnp.log(jnp.asarray(2, x.dtype))
    return jnp.where(size < 1, near, far)


@_log_cosh.defjvp
def _log_cosh_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (change,) = primals, tangents
    return _log_cosh(x), jnp.tanh(x) * change


def quantile(outputs: Array, batch: Batch, *, q: Probability | Sequence[Probability] = 0.5) -> Array:
    """`max(q e, (q-1) e)` with e = y-ŷ: [B, T] -> [B]; its minimum is the q-quantile (q = 0.5: half of `mae`).

    With a list of Q quantiles the outputs are [B, T, Q], and the loss is the mean over them (Koenker and Bassett
    1978; Wen et al. 2017, arXiv:1711.11053).
    """
    if isinstance(q, Sequence):
        return _quantiles(outputs, batch, q)
    outputs, targets = paired("quantile", outputs, batch)
    part, error = jnp.asarray(q, outputs.dtype), targets - outputs
    return example_mean(jnp.maximum(part * error, (part - 1) * error))


def _quantiles(outputs: Array, batch: Batch, q: Sequence[float]) -> Array:
    if not q or any(b <= a for a, b in itertools.pairwise(q)):
        raise ValueError(f"loss.q={list(q)}: expected quantiles in increasing order, such as [0.1, 0.5, 0.9]")
    outputs, targets = widened(outputs), jnp.asarray(batch["targets"])
    if outputs.shape != (*targets.shape, len(q)):
        raise misfit("quantile", f"outputs [B, T, {len(q)}] and targets [B, T]", outputs, targets)
    parts, error = jnp.asarray(q, outputs.dtype), targets.astype(outputs.dtype)[..., None] - outputs
    parts = parts.reshape((1,) * (outputs.ndim - 1) + (-1,))
    return example_mean(jnp.maximum(parts * error, (parts - 1) * error))


@takes("log_means")
def poisson(outputs: Array, batch: Batch) -> Array:
    """`exp(z) - y z`, z the logarithm of the expected count: [B, T] -> [B]. Without log y!, which is constant.

    Above z = 30 the exponential continues as the tangent there, so that neither value nor gradient overflows.
    """
    outputs, targets = paired("poisson", outputs, batch)
    outputs = where_valid(targets >= 0, outputs)
    inside = jnp.minimum(outputs, 30)
    return example_mean(jnp.exp(inside) * (1 + outputs - inside) - targets * outputs)
