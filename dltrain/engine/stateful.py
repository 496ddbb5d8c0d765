"""Recurrent state that a stateful model keeps from batch to batch, under `dltrain.types.RECURRENT_STATE`."""

from typing import Any

import jax
import jax.numpy as jnp

from dltrain.types import RECURRENT_STATE


def is_recurrent_state(path: tuple[Any, ...]) -> bool:
    """Tell whether a leaf with this pytree path is recurrent state."""
    return jax.tree_util.DictKey(RECURRENT_STATE) in path


def fresh(model_state: Any, batch_size: int) -> Any:
    """Return the model state with recurrent state of zeros for batches of `batch_size` examples."""

    def one(path: tuple[Any, ...], leaf: Any) -> Any:
        return jnp.zeros((batch_size, *leaf.shape[1:]), leaf.dtype) if is_recurrent_state(path) else leaf

    return jax.tree_util.tree_map_with_path(one, model_state)
