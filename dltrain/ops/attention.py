"""Scaled dot-product attention over all heads at once.

Hand-written, since `jax.nn.dot_product_attention` orders axes [B, L, H, D] and does not return the weights.
"""

import jax
import jax.numpy as jnp

Array = jax.Array


def attention(queries: Array, keys: Array, values: Array, *, mask: Array | None = None) -> Array:
    """Return `softmax(q·k / √D) v`: queries [B, H, M, D], keys and values [B, H, L, D] -> [B, H, M, D].

    mask: bool [B or 1, H or 1, M or 1, L]; positions that are False have weight 0 and do not change the result. It
    is NaN for a query whose positions are all False. Weights are at least float32 (Vaswani et al.,
    arXiv:1706.03762).
    """
    if queries.shape[:2] + queries.shape[3:] != keys.shape[:2] + keys.shape[3:] or keys.shape != values.shape:
        raise ValueError(
            "attention needs queries [B, H, M, D], keys and values [B, H, L, D], "
            f"found {queries.shape}, {keys.shape} and {values.shape}"
        )
    return attention_weights(queries, keys, mask=mask).astype(values.dtype) @ values


def attention_weights(queries: Array, keys: Array, *, mask: Array | None = None) -> Array:
    """Return `softmax(q·k / √D)`, [B, H, M, L], at least in float32; shapes and mask as in `attention`."""
    # Scale the queries, not the scores: there are fewer of them when L is above D.
    scores = queries * jnp.asarray(queries.shape[-1] ** -0.5, queries.dtype) @ keys.swapaxes(-1, -2)
    wide = scores if scores.dtype.itemsize >= 4 else scores.astype(jnp.float32)
    wide = wide if mask is None else jnp.where(mask, wide, -jnp.inf)
    return jax.nn.softmax(wide, axis=-1)
