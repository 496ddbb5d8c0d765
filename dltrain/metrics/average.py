"""Means over all real rows of a split: of any loss or metric function, and what is computed from such a mean."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dltrain.metrics.classification import log_loss
from dltrain.metrics.sums import Sum, host, kept, plus, zero_sum
from dltrain.types import Array, Batch


class MeanState(NamedTuple):
    """The sum of the values and how many there were (or the sum of their weights)."""

    sum: Sum
    count: Sum


class Average:
    """The mean of `function(outputs, batch)`, values [B] or [B, L], over all rows (positions) that are not masked.

    With `weighted`, rows count with `batch["weights"]` where the batch has them, as in the training loss.
    """

    def __init__(self, function: Callable[[Array, Batch], Array], *, weighted: bool = False):
        """Keep the function; its options are bound already."""
        self.function = function
        self.weighted = weighted

    def zero(self) -> MeanState:
        """Return the state of no rows."""
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
        """Return the mean; NaN without rows."""
        count = host(state.count)
        return float(host(state.sum) / count) if count > 0 else float("nan")


class Perplexity:
    """`exp` of the mean log loss: how many equally likely classes (characters, words) are left to guess from."""

    def __init__(self) -> None:
        """Perplexity has no options."""
        self.mean = Average(log_loss)

    def zero(self) -> MeanState:
        """Return the state of no rows."""
        return self.mean.zero()

    def add(self, state: MeanState, outputs: Array, batch: Batch) -> MeanState:
        """Add a batch: logits [B, K] or [B, L, K]."""
        return self.mean.add(state, outputs, batch)

    def value(self, state: MeanState) -> float:
        """Return the perplexity, at least 1; NaN without rows."""
        return float(np.exp(self.mean.value(state)))
