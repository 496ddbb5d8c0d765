"""Activations: element-wise functions of one array (except softmax and log_softmax), selected in YAML by name.

Options are keyword arguments: `{_target_: dltrain.activations.leaky_relu, alpha: 0.2}`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dltrain.ranges import Finite, NonNegative
from dltrain.types import Array

__all__ = [
    "elu",
    "gelu",
    "hard_sigmoid",
    "identity",
    "leaky_relu",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "sign",
    "silu",
    "softmax",
    "softplus",
    "step",
    "tanh",
]


def _without_gradient(*, train_with: str) -> Callable[[Any], Any]:
    """Mark an activation whose gradient is zero everywhere, as a decorator, and name its smooth form."""

    def mark(activation: Any) -> Any:
        activation.train_with = train_with
        return activation

    return mark


def identity(x: Array) -> Array:
    """Return x unchanged: a linear layer."""
    return x


def sigmoid(x: Array) -> Array:
    """`1 / (1 + exp(-x))`, between 0 and 1: gates, probabilities, the networks of textbooks; slope at most 1/4."""
    return jax.nn.sigmoid(x)


def tanh(x: Array) -> Array:
    """`tanh(x)`, between -1 and 1: recurrent networks, and codes around zero."""
    return jnp.tanh(x)


def relu(x: Array) -> Array:
    """`max(0, x)`, with slope 0 at 0: the usual choice in deep networks."""
    return jax.nn.relu(x)


def relu6(x: Array) -> Array:
    """`min(max(0, x), 6)`: relu with bounded values, for 16-bit arithmetic."""
    return jax.nn.relu6(x)


def leaky_relu(x: Array, *, alpha: Finite = 0.01) -> Array:
    """`x` above zero, `alpha·x` below: relu without dead units; common in GANs."""
    return jax.nn.leaky_relu(x, alpha)


def elu(x: Array, *, alpha: NonNegative = 1.0) -> Array:
    """`x` above zero, `alpha·(exp(x) - 1)` below: relu with outputs around zero. arXiv:1511.07289."""
    return jax.nn.elu(x, alpha)


def selu(x: Array) -> Array:
    """`λ·elu(x, α)` with fixed λ and α: deep networks without norm layers, with lecun_normal. arXiv:1706.02515."""
    return jax.nn.selu(x)


def gelu(x: Array, *, approximate: bool = False) -> Array:
    """`x Φ(x)`, exact or with a tanh approximation (faster): the usual choice in transformers. arXiv:1606.08415."""
    return jax.nn.gelu(x, approximate=approximate)


def silu(x: Array) -> Array:
    """`x σ(x)`, also called swish: a smooth relu for deep convolutional networks. arXiv:1702.03118."""
    return jax.nn.silu(x)


def mish(x: Array) -> Array:
    """`x tanh(softplus(x))`: like silu, a little smoother and slower. arXiv:1908.08681."""
    return jax.nn.mish(x)


def softplus(x: Array) -> Array:
    """`log(1 + exp(x))`, without overflow: a smooth relu, for outputs that must be positive."""
    return jax.nn.softplus(x)


def hard_sigmoid(x: Array) -> Array:
    """`min(max(0, x/6 + 1/2), 1)`: a piecewise linear sigmoid, where exp is expensive."""
    return jax.nn.hard_sigmoid(x)


def softmax(x: Array) -> Array:
    """`exp(x_k) / Σ exp(x_j)` over the last axis: for an output of probabilities (loss `nll`)."""
    return jax.nn.softmax(x)


def log_softmax(x: Array) -> Array:
    """`x_k - log Σ exp(x_j)` over the last axis: for an output of log probabilities."""
    return jax.nn.log_softmax(x)


@_without_gradient(train_with="sigmoid")
def step(x: Array) -> Array:
    """1 where x > 0, else 0. Its gradient is zero: for prediction, not for training."""
    return (x > 0).astype(x.dtype)


@_without_gradient(train_with="tanh")
def sign(x: Array) -> Array:
    """-1, 0 or 1. Its gradient is zero: for prediction, not for training."""
    return jnp.sign(x)
