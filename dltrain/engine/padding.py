"""Padding of a short batch: its content never reaches the model, the loss or a metric.

A mask alone is not enough: the gradient of a loss that is multiplied by 0 is 0·∞ = NaN if the masked example
overflows. So before anything else is computed, each masked example becomes a copy of a real one of its batch.
"""

import jax
import jax.numpy as jnp

from dltrain.types import Array, Batch


def fill_padding(batch: Batch) -> Batch:
    """Replace every masked example by the first one that is not masked; `mask [B]` stays.

    A batch that is all padding gets copies of its first example.
    """
    mask = jnp.asarray(batch["mask"]).astype(bool)
    first = jnp.argmax(mask)

    def one(x: Array) -> Array:
        x = jnp.asarray(x)
        return jnp.where(mask.reshape(mask.shape + (1,) * (x.ndim - 1)), x, x[first][None])

    return {name: value if name == "mask" else jax.tree.map(one, value) for name, value in batch.items()}
