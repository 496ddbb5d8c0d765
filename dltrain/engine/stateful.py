"""Variables of a model that the engine sets: recurrent state and progress (`RECURRENT_STATE`, `PROGRESS`)."""

from typing import Any

import jax
import jax.numpy as jnp

from dltrain.types import PROGRESS, RECURRENT_STATE, Array


def is_recurrent_state(path: tuple[Any, ...]) -> bool:
    """Tell whether a leaf with this pytree path is recurrent state."""
    return jax.tree_util.DictKey(RECURRENT_STATE) in path


def fresh(model_state: Any, batch_size: int) -> Any:
    """Return the model state with recurrent state of zeros for batches of `batch_size` examples."""

    def one(path: tuple[Any, ...], leaf: Any) -> Any:
        return jnp.zeros((batch_size, *leaf.shape[1:]), leaf.dtype) if is_recurrent_state(path) else leaf

    return jax.tree_util.tree_map_with_path(one, model_state)


def with_progress(model_state: Any, step: Array, total: Array) -> Any:
    """Return the model state with the part of training that is done, in models that ask for it."""

    def one(path: tuple[Any, ...], leaf: Any) -> Any:
        if path[-1] != jax.tree_util.DictKey(PROGRESS):
            return leaf
        return (step.astype(jnp.float32) / jnp.maximum(total, 1).astype(jnp.float32)).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(one, model_state)
