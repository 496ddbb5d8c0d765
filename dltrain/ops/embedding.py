"""Embedding lookup; on a CPU the gradient of a small table is a matrix product, not a scatter.

Hand-written, since the scatter that is the gradient of `jnp.take` is slow on a CPU.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from dltrain.ops import lowering

Array = jax.Array

SMALL = 1024  # rows of a table up to which a product is faster than a scatter on a CPU


def embed(tokens: Array, table: Array) -> Array:
    """Look up tokens: int [...], table [V, E] -> [..., E]; NaN for a token outside the table."""
    if lowering.is_stock() or len(table) > SMALL:
        return _take(tokens, table)
    return _embed(tokens, table)


def _take(tokens: Array, table: Array) -> Array:
    return jnp.take(table, tokens, axis=0, mode="fill")


_embed = jax.custom_vjp(_take)


def _forward(tokens: Array, table: Array) -> tuple[Array, tuple[Array, Array]]:
    return _embed(tokens, table), (tokens, table)


def _backward(saved: tuple[Array, Array], gradient: Array) -> tuple[None, Array]:
    def product(tokens: Array, gradient: Array) -> Array:
        is_token = jnp.arange(len(table), dtype=tokens.dtype)[:, None] == tokens.reshape(1, -1)
        return is_token.astype(gradient.dtype) @ gradient.reshape(-1, gradient.shape[-1])

    def scatter(tokens: Array, gradient: Array) -> Array:
        shape = jax.ShapeDtypeStruct(table.shape, table.dtype)
        return jax.linear_transpose(partial(_take, tokens), shape)(gradient)[0]

    tokens, table = saved
    return None, lax.platform_dependent(tokens, gradient, cpu=product, default=scatter)


_embed.defvjp(_forward, _backward)
