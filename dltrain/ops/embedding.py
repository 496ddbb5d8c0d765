"""Looking up rows of a table, with a gradient that is no scatter where the table is small."""

import jax
import jax.numpy as jnp

from dltrain.ops import lowering

Array = jax.Array

SMALL = 1024  # rows of a table up to which a product is quicker than a scatter on a CPU


def embed(tokens: Array, table: Array) -> Array:
    """Look up rows: tokens int [...], table [V, E] -> [..., E]; NaN for a token that is not in the table."""
    if lowering.is_stock() or len(table) > SMALL or jax.default_backend() != "cpu":
        return jnp.take(table, tokens, axis=0, mode="fill")
    return _embed(tokens, table)


@jax.custom_vjp
def _embed(tokens: Array, table: Array) -> Array:
    return jnp.take(table, tokens, axis=0, mode="fill")


def _forward(tokens: Array, table: Array) -> tuple[Array, tuple[Array, Array]]:
    return _embed(tokens, table), (tokens, table)


def _backward(kept: tuple[Array, Array], gradient: Array) -> tuple[None, Array]:
    tokens, table = kept
    is_token = jnp.arange(len(table), dtype=tokens.dtype)[:, None] == tokens.reshape(1, -1)
    return None, is_token.astype(gradient.dtype) @ gradient.reshape(-1, gradient.shape[-1])


_embed.defvjp(_forward, _backward)
