"""Trees of arrays: names of leaves, casts, norms and sizes."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dltrain.types import Array

Tree = Any
"""A nested dict of arrays."""


def path_name(path: tuple[Any, ...]) -> str:
    """Format a pytree path with dots: `hidden.0.kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def count(tree: Tree) -> int:
    """Count the values in a tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def cast(tree: Any, dtype: Any) -> Any:
    """Convert the floating-point leaves to `dtype`; None leaves them unchanged."""
    if dtype is None:
        return tree
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def widened(tree: Any) -> Any:
    """Convert floating-point leaves with fewer than 32 bits to float32."""

    def wide(x: Any) -> Any:
        narrow = jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize < 4
        return x.astype(jnp.float32) if narrow else x

    return jax.tree.map(wide, tree)


def like(new: Any, old: Any) -> Any:
    """Convert each leaf to the dtype of its counterpart in `old`: the state of a loop must keep its dtypes."""
    return jax.tree.map(lambda a, b: a.astype(b.dtype), new, old)


def norm(tree: Any) -> Array:
    """Return the Euclidean norm of all leaves together, summed in float32."""
    return optax.tree.norm(widened(tree))


def flattened(tree: Any) -> dict[str, Any]:
    """Return the leaves of a nested dict by their paths, such as inputs.length, in the order of the dict."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        inside = flattened(value) if isinstance(value, Mapping) else None
        found |= {name: value} if inside is None else {f"{name}.{path}": leaf for path, leaf in inside.items()}
    return found
