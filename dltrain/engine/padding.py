"""Padding of a short batch: its content never reaches the model, the loss or a metric.

A mask alone is not enough: the gradient of a loss that is multiplied by 0 is 0·∞ = NaN if the masked example
overflows. So before anything else is computed, each masked example becomes a copy of a real one of its batch.
"""

import jax
import jax.numpy as jnp

from dltrain.types import Array, Batch


def fill_padding(batch: Batch, *, sharded: bool = False) -> Batch:
    """Replace every masked example by the first one that is not masked; `mask [B]` stays.

    A batch that is all padding gets copies of its first example. `sharded`: the batch is divided over devices, so
    the example is found by a sum, which sends one example; XLA would send the whole batch to index it. Devices
    exchange it only for a batch with padding, the last one of an epoch: each exchange takes time, however small.
    """
    mask = jnp.asarray(batch["mask"]).astype(bool)

    def example(x: Array, first: Array) -> Array:
        if not sharded:
            return x[first]
        chosen = (jnp.arange(len(x)) == first).reshape(-1, *(1,) * (x.ndim - 1))
        found = jnp.where(chosen, x, jnp.zeros((), x.dtype))
        return found.any(0) if x.dtype == bool else found.sum(0, dtype=x.dtype)

    def filled() -> Batch:
        first = jnp.argmax(mask)

        def one(x: Array) -> Array:
            x = jnp.asarray(x)
            return jnp.where(mask.reshape(mask.shape + (1,) * (x.ndim - 1)), x, example(x, first)[None])

        return {name: jax.tree.map(one, value) for name, value in batch.items() if name != "mask"}

    if not sharded:
        return {**filled(), "mask": batch["mask"]}
    content = {name: value for name, value in batch.items() if name != "mask"}
    found = jax.lax.cond(mask.all(), lambda: jax.tree.map(jnp.asarray, content), filled)
    return {**found, "mask": batch["mask"]}
