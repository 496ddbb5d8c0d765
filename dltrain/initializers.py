"""Initializers: factories of `(key, shape, dtype) -> array`, selected in YAML by name; all work without arguments.

Kernels are `[..., inputs, outputs]` (of a convolution: `[height, width, inputs, outputs]`); fan_in and fan_out are
the numbers of weights into and out of one unit.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dltrain.ranges import Finite, NonNegative
from dltrain.types import Array

__all__ = [
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Init = Callable[..., Array]


def zeros() -> Init:
    """All zero: for biases (the units of a hidden kernel of zeros stay equal)."""
    return jax.nn.initializers.zeros


def ones() -> Init:
    """All one: for the scale of a normalisation."""
    return jax.nn.initializers.ones


def constant(value: Finite = 0.1) -> Init:
    """All equal; the default is a slightly positive bias that keeps ReLUs active at the start."""
    return jax.nn.initializers.constant(value)


def normal(stddev: NonNegative = 0.05, mean: Finite = 0.0) -> Init:
    """Gaussian with a given standard deviation: GANs (0.02), Boltzmann machines (0.01), embeddings."""

    def init(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32, **unused: object) -> Array:
        del unused
        return jnp.asarray(mean, dtype) + jnp.asarray(stddev, dtype) * jax.random.normal(key, shape, dtype)

    return init


def uniform(low: Finite = -0.05, high: Finite = 0.05) -> Init:
    """Uniform between `low` and `high`: small weights as in older textbooks."""
    if low > high:
        raise ValueError(f"low={low:g} high={high:g}: expected low ≤ high")

    def init(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32, **unused: object) -> Array:
        del unused
        return jax.random.uniform(key, shape, dtype, low, high)

    return init


def truncated_normal(stddev: NonNegative = 0.1) -> Init:
    """Gaussian truncated at two `stddev`, common in tutorials; its standard deviation is 0.88 `stddev`."""
    return jax.nn.initializers.truncated_normal(stddev)


def glorot_uniform() -> Init:
    """Uniform within ±√(6 / (fan_in + fan_out)): for tanh and sigmoid. Glorot, Bengio 2010."""
    return jax.nn.initializers.glorot_uniform()


def glorot_normal() -> Init:
    """Variance 2 / (fan_in + fan_out), truncated Gaussian: for tanh and sigmoid. Glorot, Bengio 2010."""
    return jax.nn.initializers.glorot_normal()


def xavier_uniform() -> Init:
    """Alias of `glorot_uniform`: for tanh and sigmoid."""
    return glorot_uniform()


def xavier_normal() -> Init:
    """Alias of `glorot_normal`: for tanh and sigmoid."""
    return glorot_normal()


def he_uniform() -> Init:
    """Uniform within ±√(6 / fan_in): for ReLU. He et al., arXiv:1502.01852."""
    return jax.nn.initializers.he_uniform()


def he_normal() -> Init:
    """Variance 2 / fan_in, truncated Gaussian: for ReLU. He et al., arXiv:1502.01852."""
    return jax.nn.initializers.he_normal()


def lecun_uniform() -> Init:
    """Uniform within ±√(3 / fan_in): for SELU and linear layers. LeCun et al. 1998."""
    return jax.nn.initializers.lecun_uniform()


def lecun_normal() -> Init:
    """Variance 1 / fan_in, truncated Gaussian: for SELU and linear layers."""
    return jax.nn.initializers.lecun_normal()


def orthogonal(scale: Finite = 1.0) -> Init:
    """A random matrix with orthonormal rows or columns, times `scale`: for recurrent kernels. arXiv:1312.6120."""
    return jax.nn.initializers.orthogonal(scale)
