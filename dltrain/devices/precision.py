"""In what type of number a run computes, and in what type it keeps its parameters."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from dltrain.tree import cast, widened


@dataclass(frozen=True)
class Precision:
    """Types of floating-point numbers; None leaves them as they come, which is float32.

    Losses, their sums, gradient sums and norms, and batch statistics are float32 in each. bfloat16 has the exponent
    range of float32, so that gradients do not vanish below it and no loss scaling is needed (Kalamkar et al. 2019).
    """

    compute: Any = None  # of activations and their gradients
    params: Any = None  # of parameters and the optimizer's state

    def cast_to_param(self, params: Any) -> Any:
        """Convert new parameters to the type they are kept in."""
        return cast(params, self.params)

    def cast_to_compute(self, tree: Any) -> Any:
        """Convert parameters or inputs to the type that the model computes in."""
        return cast(tree, self.compute)

    def cast_to_output(self, outputs: Any) -> Any:
        """Convert what the model returns to the type that losses and metrics are computed in."""
        return outputs if self.compute is None else widened(outputs)


FLOAT32 = Precision()
PRECISIONS = {
    "float32": FLOAT32,
    "mixed": Precision(compute=jnp.bfloat16),
    "bfloat16": Precision(compute=jnp.bfloat16, params=jnp.bfloat16),
}
"""What `runtime.precision` may be."""
