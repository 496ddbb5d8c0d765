"""What a model carries from batch to batch, below `dltrain.types.CARRIED`: of the rows read last, not learnt."""

from typing import Any

import jax
import jax.numpy as jnp

from dltrain.types import CARRIED


def is_carried(path: tuple[Any, ...]) -> bool:
    """Tell it by the pytree path of a leaf."""
    return jax.tree_util.DictKey(CARRIED) in path


def fresh(rest: Any, rows: int) -> Any:
    """Return what a module carries beside its parameters for batches of so many rows, with no row read yet."""

    def one(path: tuple[Any, ...], leaf: Any) -> Any:
        return jnp.zeros((rows, *leaf.shape[1:]), leaf.dtype) if is_carried(path) else leaf

    return jax.tree_util.tree_map_with_path(one, rest)
