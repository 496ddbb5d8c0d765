"""The floating-point types of computation and parameters."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from dltrain.tree import cast, widened


@dataclass(frozen=True)
class Precision:
    """Floating-point types; None leaves values unchanged, which is float32.

    Losses, their sums, gradient sums and norms, and batch statistics are always float32. bfloat16 has the exponent
    range of float32, so that gradients do not vanish below it and no loss scaling is needed (Kalamkar et al. 2019).
    """

    compute: Any = None  # of activations and their gradients
    params: Any = None  # of parameters and the optimizer state

    def cast_to_param(self, params: Any) -> Any:
        """Convert new parameters to the parameter type."""
        return cast(params, self.params)

    def cast_to_compute(self, tree: Any) -> Any:
        """Convert parameters or inputs to the compute type."""
        return cast(tree, self.compute)

    def cast_to_output(self, outputs: Any) -> Any:
        """Convert model outputs to at least float32, for losses and metrics."""
        return outputs if self.compute is None else widened(outputs)


FLOAT32 = Precision()
PRECISIONS = {
    "float32": FLOAT32,
    "mixed": Precision(compute=jnp.bfloat16),
    "bfloat16": Precision(compute=jnp.bfloat16, params=jnp.bfloat16),
}
"""The choices of `runtime.precision`."""
