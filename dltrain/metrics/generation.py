"""Metrics of what a model writes by itself, token by token, without being told the right ones on the way."""

import jax.numpy as jnp

from dltrain.metrics.average import Average, MeanState
from dltrain.types import Array, Batch, Spec, Task


class ExactMatch:
    """The part of the rows that are written right from the first token to <end>, and nothing else."""

    of_written = True

    def __init__(self, *, spec: Spec) -> None:
        """Check that there is something to write."""
        if spec.task is not Task.GENERATION:
            raise ValueError(f"exact_match judges what a model writes about its inputs, not task={spec.task}")
        self.mean = Average(_right)

    def zero(self) -> MeanState:
        """Return the state of no rows."""
        return self.mean.zero()

    def add(self, state: MeanState, outputs: Array, batch: Batch) -> MeanState:
        """Add a batch: `written` and `targets`, int [B, L], are compared where `loss_mask` counts them."""
        return self.mean.add(state, outputs, batch)

    def value(self, state: MeanState) -> float:
        """Return the part, 0..1; NaN without rows."""
        return self.mean.value(state)


def _right(outputs: Array, batch: Batch) -> Array:
    del outputs  # they were computed with the right tokens before each
    wrong = (batch["written"] != batch["targets"]) & batch["loss_mask"].astype(bool)
    return 1 - wrong.any(1).astype(jnp.float32)
