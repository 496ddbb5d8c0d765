"""Metrics of generated text: each token follows the generated ones, not the true ones."""

import jax.numpy as jnp

from dltrain.metrics.average import Average, MeanState
from dltrain.tasks import Generates
from dltrain.types import Array, Batch, Spec


class ExactMatch:
    """The share of examples whose generated text equals the target up to <end>."""

    of_generated = True

    def __init__(self, *, spec: Spec) -> None:
        """Check that the task is generation."""
        if spec.task.generates is not Generates.ANSWER:
            raise ValueError(
                f"exact_match evaluates text that a model generates from its inputs, not task={spec.task}"
            )
        self.mean = Average(_right)

    def zero(self) -> MeanState:
        """Return the state without examples."""
        return self.mean.zero()

    def add(self, state: MeanState, outputs: Array, batch: Batch) -> MeanState:
        """Add a batch: `generated` and `targets`, int [B, L], are compared where `loss_mask` counts them."""
        return self.mean.add(state, outputs, batch)

    def value(self, state: MeanState) -> float:
        """Return the share, 0..1; NaN without examples."""
        return self.mean.value(state)


def _right(outputs: Array, batch: Batch) -> Array:
    # The outputs are computed from the true previous tokens (teacher forcing). Where they are NaN, so are the
    # logits from which the text was generated.
    counts = batch["loss_mask"].astype(bool)
    wrong = (batch["generated"] != batch["targets"]) & counts
    undefined = (jnp.isnan(outputs).any(-1) & counts).any(1)
    return jnp.where(undefined, jnp.nan, 1 - wrong.any(1).astype(jnp.float32))
