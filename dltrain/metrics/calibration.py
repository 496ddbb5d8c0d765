"""Calibration: whether predictions with confidence 0.8 are right in eight cases of ten."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.metrics.classification import actual, is_undefined, predicted
from dltrain.metrics.sums import Count, Sum, count_more, host, kept, plus, whole, widened, zero_count, zero_sum
from dltrain.ranges import Size
from dltrain.types import Array, Batch


class BinState(NamedTuple):
    """Per bin of confidence: its sum, the number of examples, and the number of right ones."""

    confidence: Sum
    examples: Count
    right: Count


class CalibrationError:
    """Expected calibration error: Σ over bins of (share of examples) · |accuracy - confidence|.

    The confidence is the probability of the predicted class; `bins` of equal width, open below and closed above.
    Guo et al., On calibration of modern neural networks, arXiv:1706.04599.
    """

    def __init__(self, bins: Size = 15):
        """Set the number of bins."""
        self.bins = bins

    def zero(self) -> BinState:
        """Return the state without examples."""
        return BinState(zero_sum((self.bins,)), zero_count((self.bins,)), zero_count((self.bins,)))

    def add(self, state: BinState, outputs: Array, batch: Batch) -> BinState:
        """Add a batch."""
        logits = widened(outputs)
        right = (predicted(outputs) == actual(outputs, batch)).astype(jnp.int32)
        if outputs.shape[-1] == 1:
            confidence = jax.nn.sigmoid(jnp.abs(logits[..., 0]))
        else:
            confidence = jax.nn.softmax(logits).max(-1)
        confidence = jnp.where(is_undefined(outputs, batch), jnp.nan, confidence)
        index = jnp.clip(jnp.ceil(confidence * self.bins).astype(jnp.int32) - 1, 0, self.bins - 1)
        index = jnp.where(kept(index, batch), index, self.bins)
        sums = jnp.zeros(self.bins, logits.dtype).at[index].add(confidence, mode="drop")
        none = jnp.zeros(self.bins, jnp.int32)
        return BinState(
            plus(state.confidence, sums),
            count_more(state.examples, none.at[index].add(1, mode="drop")),
            count_more(state.right, none.at[index].add(right, mode="drop")),
        )

    def value(self, state: BinState) -> float:
        """Return the error, 0 (calibrated) to 1; NaN without examples, and if an output was NaN."""
        examples = whole(state.examples).sum()
        if examples == 0:
            return float("nan")
        return float(np.abs(whole(state.right) - host(state.confidence)).sum() / examples)
