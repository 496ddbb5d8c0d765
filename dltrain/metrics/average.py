"""Means of a loss or metric function over all examples of a split, and metrics computed from such a mean."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dltrain.metrics.classification import log_loss, of_classes
from dltrain.metrics.sums import Sum, host, kept, plus, zero_sum
from dltrain.types import Array, Batch


class MeanState(NamedTuple):
    """The sum of the values and their number (or the sum of their weights)."""

    sum: Sum
    count: Sum


class Average:
    """The mean of `function(outputs, batch)`, values [B] or [B, L], over all unmasked examples (positions).

    With `weighted`, examples have the weight `batch["weights"]` if the batch has it, as in the training loss.
    """

    def __init__(self, function: Callable[[Array, Batch], Array], *, weighted: bool = False):
        """Store the function, with its options bound."""
        self.function = function
        self.weighted = weighted

    def zero(self) -> MeanState:
        """Return the state without examples."""
        return MeanState(zero_sum(), zero_sum())

    def add(self, state: MeanState, outputs: Array, batch: Batch) -> MeanState:
        """Add a batch."""
        values = self.function(outputs, batch)
        weights = jnp.ones_like(values)
        if self.weighted and "weights" in batch:
            given = jnp.asarray(batch["weights"], values.dtype)
            weights = given.reshape((-1,) + (1,) * (values.ndim - 1)) * weights
        keep = kept(values, batch)
        total = jnp.where(keep, weights * values, 0).sum()
        return MeanState(plus(state.sum, total), plus(state.count, jnp.where(keep, weights, 0).sum()))

    def value(self, state: MeanState) -> float:
        """Return the mean; NaN without examples."""
        count = host(state.count)
        return float(host(state.sum) / count) if count > 0 else float("nan")


@of_classes
class Perplexity:
    """`exp` of the mean log loss: the effective number of classes (characters, words) to choose from."""

    def __init__(self) -> None:
        """Create the metric; it has no options."""
        self.mean = Average(log_loss)

    def zero(self) -> MeanState:
        """Return the state without examples."""
        return self.mean.zero()

    def add(self, state: MeanState, outputs: Array, batch: Batch) -> MeanState:
        """Add a batch: logits [B, K] or [B, L, K]."""
        return self.mean.add(state, outputs, batch)

    def value(self, state: MeanState) -> float:
        """Return the perplexity, at least 1; NaN without examples."""
        return float(np.exp(self.mean.value(state)))
