"""Calibration: whether predictions with confidence 0.8 are right in eight cases of ten."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.metrics.classification import accuracy
from dltrain.metrics.sums import Sum, host, kept, plus, widened, zero_sum
from dltrain.types import Array, Batch


class BinState(NamedTuple):
    """Per bin of confidence: its sum, the number of examples, and the number of right ones."""

    confidence: Sum
    examples: Array
    right: Array


class CalibrationError:
    """Expected calibration error: Σ over bins of (share of examples) · |accuracy - confidence|.

    The confidence is the probability of the predicted class; `bins` of equal width, open below and closed above.
    Guo et al., On calibration of modern neural networks, arXiv:1706.04599.
    """

    def __init__(self, bins: int = 15):
        """Set the number of bins."""
        if bins < 1:
            raise ValueError(f"bins={bins} must be 1 or more")
        self.bins = bins

    def zero(self) -> BinState:
        """Return the state without examples."""
        zero = jnp.zeros(self.bins, jnp.int32)
        return BinState(zero_sum((self.bins,)), zero, zero)

    def add(self, state: BinState, outputs: Array, batch: Batch) -> BinState:
        """Add a batch."""
        logits = widened(outputs)
        right = accuracy(outputs, batch)
        if outputs.shape[-1] == 1:
            confidence = jax.nn.sigmoid(jnp.abs(logits[..., 0]))
        else:
            confidence = jax.nn.softmax(logits).max(-1)
        index = jnp.clip(jnp.ceil(confidence * self.bins).astype(jnp.int32) - 1, 0, self.bins - 1)
        index = jnp.where(kept(index, batch), index, self.bins)
        sums = jnp.zeros(self.bins, logits.dtype).at[index].add(confidence, mode="drop")
        return BinState(
            plus(state.confidence, sums),
            state.examples.at[index].add(1, mode="drop"),
            state.right.at[index].add(right.astype(jnp.int32), mode="drop"),
        )

    def value(self, state: BinState) -> float:
        """Return the error, 0 (calibrated) to 1; NaN without examples."""
        examples = np.asarray(state.examples, np.float64)
        if examples.sum() == 0:
            return float("nan")
        return float(np.abs(np.asarray(state.right, np.float64) - host(state.confidence)).sum() / examples.sum())
