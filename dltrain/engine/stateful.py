"""Recurrent state that a stateful model keeps from batch to batch, under `dltrain.types.RECURRENT_STATE`."""

from typing import Any

import jax
import jax.numpy as jnp

from dltrain.types import RECURRENT_STATE


def is_recurrent_state(path: tuple[Any, ...]) -> bool:
    """Tell it by the pytree path of a leaf."""
    return jax.tree_util.DictKey(RECURRENT_STATE) in path


def fresh(model_state: Any, rows: int) -> Any:
    """Return what a module carries beside its parameters for batches of so many rows, with no row read yet."""

    def one(path: tuple[Any, ...], leaf: Any) -> Any:
        return jnp.zeros((rows, *leaf.shape[1:]), leaf.dtype) if is_recurrent_state(path) else leaf

    return jax.tree_util.tree_map_with_path(one, model_state)
