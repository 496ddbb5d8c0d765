"""The product of a dense layer for batches that are divided over devices."""

from functools import partial
from typing import Any

import jax
from flax import nnx
from jax import lax

from dltrain.ops import divided
from dltrain.types import Array

NONE = ((), ())  # axes of a batch of products


def dot_general(x: Array, kernel: Array, dimension_numbers: Any, **options: Any) -> Array:
    """Compute `x @ kernel`, [..., M] and [M, N] -> [..., N], with the options of `lax.dot_general`.

    The gradient of the kernel is computed as [M, N]. That of lax is computed as [N, M] and then transposed; on one
    device XLA removes this, but not if the gradient is summed over devices in between: then it transposes each
    gradient twice. MLP 784-512-512-10, batch 128, 4 processes on two busy cores, processor time relative to a bare
    step: 1.12 with lax, 0.94 to 1.02 with this in three runs.
    The gradient is hand-written: reverse mode of any order, but no forward mode (`jax.jvp`).
    """
    if dimension_numbers != (((x.ndim - 1,), (0,)), NONE):
        raise ValueError(f"a dense layer multiplies the last axis of {x.shape}, found {dimension_numbers}")
    return _dense(x, kernel, tuple(options.items()))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _dense(x: Array, kernel: Array, options: tuple[tuple[str, Any], ...]) -> Array:
    return lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), NONE), **dict(options))


def _forward(x: Array, kernel: Array, options: tuple[tuple[str, Any], ...]) -> tuple[Array, tuple[Array, Array]]:
    return _dense(x, kernel, options), (x, kernel)


def _backward(options: tuple[tuple[str, Any], ...], saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    examples = tuple(range(x.ndim - 1))
    dx = lax.dot_general(dy, kernel, (((dy.ndim - 1,), (1,)), NONE), **dict(options))
    dkernel = lax.dot_general(x, dy, ((examples, examples), NONE), **dict(options))
    return dx.astype(x.dtype), dkernel.astype(kernel.dtype)


_dense.defvjp(_forward, _backward)


def use_in(model: nnx.Module) -> None:
    """Let the dense layers of a traced model use it where batches, but no layers, are divided over devices."""
    if divided.is_sharded() and divided.parts() == 1:
        for _, layer in nnx.iter_modules(model):
            if isinstance(layer, nnx.Linear) and layer.dot_general is lax.dot_general:
                layer.dot_general = dot_general
