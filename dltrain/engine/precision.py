"""In what type of number a run computes, and in what type it keeps its parameters."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dltrain.types import Array


@dataclass(frozen=True)
class Precision:
    """Types of floating-point numbers; None leaves them as they come, which is float32.

    Losses, their sums, gradient sums and norms, and batch statistics are float32 in each. bfloat16 has the exponent
    range of float32, so that gradients do not vanish below it and no loss scaling is needed (Kalamkar et al. 2019).
    """

    compute: Any = None  # of activations and their gradients
    params: Any = None  # of parameters and the optimizer's state

    def keep(self, params: Any) -> Any:
        """Convert new parameters to the type they are kept in."""
        return cast(params, self.params)

    def enter(self, tree: Any) -> Any:
        """Convert parameters or inputs to the type that the model computes in."""
        return cast(tree, self.compute)

    def leave(self, outputs: Any) -> Any:
        """Convert what the model returns to the type that losses and metrics are computed in."""
        return outputs if self.compute is None else widened(outputs)


FLOAT32 = Precision()
PRECISIONS = {
    "float32": FLOAT32,
    "mixed": Precision(compute=jnp.bfloat16),
    "bfloat16": Precision(compute=jnp.bfloat16, params=jnp.bfloat16),
}
"""What `runtime.precision` may be."""


def cast(tree: Any, dtype: Any) -> Any:
    """Convert the floating-point leaves; None for not at all."""
    if dtype is None:
        return tree
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def widened(tree: Any) -> Any:
    """Convert floating-point leaves that are narrower than float32 to it."""

    def wide(x: Any) -> Any:
        narrow = jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize < 4
        return x.astype(jnp.float32) if narrow else x

    return jax.tree.map(wide, tree)


def like(new: Any, old: Any) -> Any:
    """Convert each leaf to the type of its counterpart: a loop's state keeps its types."""
    return jax.tree.map(lambda a, b: a.astype(b.dtype), new, old)


def norm(tree: Any) -> Array:
    """Return the Euclidean norm of all leaves together, summed in float32."""
    return optax.tree.norm(widened(tree))
