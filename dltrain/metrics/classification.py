"""Classification metrics: accuracy, top-k, log loss, the confusion matrix.

Outputs are logits: [B, K], or [B, 1] for two classes (class 1 where the logit is above 0). Targets are classes
int [B] or probabilities float [B, K], whose largest is the class.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.metrics.sums import Count, count_more, kept, whole, widened, zero_count
from dltrain.ranges import Size
from dltrain.types import Array, Batch, Spec

Metric = TypeVar("Metric", bound=Callable[..., Any])


def predicted(outputs: Array) -> Array:
    """Return the predicted class, int32 [B]; the first of equal outputs."""
    if outputs.shape[-1] == 1:
        return (outputs[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(outputs, axis=-1).astype(jnp.int32)


def actual(outputs: Array, batch: Batch) -> Array:
    """Return the true class, int32 [B]; -1 where the target is not a class."""
    targets = jnp.asarray(batch["targets"])
    classes = max(outputs.shape[-1], 2)
    if targets.shape == outputs.shape[:-1]:
        if jnp.issubdtype(targets.dtype, jnp.floating):
            targets = targets > 0.5
        labels = targets.astype(jnp.int32)
        return jnp.where((labels >= 0) & (labels < classes), labels, -1)
    if targets.shape == outputs.shape and jnp.issubdtype(targets.dtype, jnp.floating):
        if classes != outputs.shape[-1]:
            return (targets[..., 0] > 0.5).astype(jnp.int32)
        return jnp.argmax(targets, axis=-1).astype(jnp.int32)
    raise ValueError(
        "a classification metric needs outputs [B, K] or [B, 1], targets int [B] or float [B, K]; found outputs "
        f"{list(outputs.shape)} and targets {targets.dtype}{list(targets.shape)}"
    )


def of_classes(metric: Metric) -> Metric:
    """Say of a metric, as a decorator, that it compares classes: a task without classes refuses it."""
    metric.of_classes = True  # ty: ignore[missing-attribute]
    return metric


def is_undefined(outputs: Array, batch: Batch) -> Array:
    """Return a mask of the examples without a predicted or true class, because a value is NaN: bool [B]."""
    found = jnp.isnan(outputs).any(-1)
    targets = jnp.asarray(batch["targets"])
    if jnp.issubdtype(targets.dtype, jnp.floating):
        unknown = jnp.isnan(targets)
        found = found | (unknown if unknown.shape == found.shape else unknown.any(-1))
    return found


@of_classes
def accuracy(outputs: Array, batch: Batch) -> Array:
    """Return 1 where the predicted class is right, else 0; NaN where an output is NaN -> [B]."""
    right = (predicted(outputs) == actual(outputs, batch)).astype(jnp.float32)
    return jnp.where(is_undefined(outputs, batch), jnp.nan, right)


@of_classes
def zero_one(outputs: Array, batch: Batch) -> Array:
    """Return 1 where the predicted class is wrong, else 0 -> [B]: the error rate."""
    return 1 - accuracy(outputs, batch)


@of_classes
def class_distance(outputs: Array, batch: Batch) -> Array:
    """Return how many classes the prediction is away from the true one -> [B], for classes that have an order."""
    away = jnp.abs(predicted(outputs) - actual(outputs, batch)).astype(jnp.float32)
    return jnp.where(is_undefined(outputs, batch), jnp.nan, away)


@of_classes
def top_k(outputs: Array, batch: Batch, *, k: Size = 5) -> Array:
    """Return 1 where the right class is among the k largest outputs -> [B]; equal outputs rank by index.

    So `k=1` is the accuracy, and a constant output has no advantage.
    """
    classes = outputs.shape[-1]
    if not 1 <= k <= classes:
        raise ValueError(f"k={k} must lie in 1..{classes}, the number of outputs")
    labels = actual(outputs, batch)[..., None]
    order = jnp.arange(classes, dtype=jnp.int32).reshape((1,) * (outputs.ndim - 1) + (-1,))
    own = jnp.where(order == labels, outputs, 0).sum(-1, keepdims=True)
    ahead = (outputs > own) | ((outputs == own) & (order < labels))
    among = ((ahead.sum(-1) < k) & (labels[..., 0] >= 0)).astype(jnp.float32)
    return jnp.where(is_undefined(outputs, batch), jnp.nan, among)


@of_classes
def log_loss(outputs: Array, batch: Batch) -> Array:
    """Return `-log p` of the right class (in nats) from logits -> [B].

    From the differences to the logit of the right class: a loss of 1e-30 and one of logits near 1e30 are as precise
    as any other.
    """
    outputs = widened(outputs)
    labels, undefined = actual(outputs, batch), is_undefined(outputs, batch)
    if outputs.shape[-1] == 1:
        outputs = jnp.concatenate([jnp.zeros_like(outputs), outputs], axis=-1)
    order = jnp.arange(outputs.shape[-1], dtype=jnp.int32).reshape((1,) * (outputs.ndim - 1) + (-1,))
    is_own = order == labels[..., None]
    own = jnp.where(is_own, outputs, 0).sum(-1, keepdims=True)
    others = jax.nn.logsumexp(jnp.where(is_own, -jnp.inf, outputs - own), axis=-1)
    return jnp.where((labels >= 0) & ~undefined, jax.nn.softplus(others), jnp.nan)


@of_classes
def bits_per_character(outputs: Array, batch: Batch) -> Array:
    """Return `log_loss` in bits -> [B] or [B, L]."""
    return log_loss(outputs, batch) / float(np.log(2))


def count_classes(spec: Spec) -> int:
    """Return the number of classes: two for the one output of a binary task."""
    return spec.task.classes(spec)


class ConfusionState(NamedTuple):
    """Counts [K, K], and whether an output was NaN."""

    counts: Count
    undefined: Array


class Confusion:
    """Counts [K, K] of true (row) and predicted (column) classes."""

    def __init__(self, *, spec: Spec):
        """Take the number of classes from the data."""
        self.classes = count_classes(spec)

    def zero(self) -> ConfusionState:
        """Return the state without examples."""
        return ConfusionState(zero_count((self.classes, self.classes)), jnp.zeros((), bool))

    def add(self, state: ConfusionState, outputs: Array, batch: Batch) -> ConfusionState:
        """Add a batch."""
        true, found = actual(outputs, batch), predicted(outputs)
        keep = kept(true, batch)
        undefined = state.undefined | (keep & is_undefined(outputs, batch)).any()
        # Masked examples get an index outside the matrix, and the scatter drops them.
        index = jnp.where(keep & (true >= 0), true, self.classes)
        counts = jnp.zeros((self.classes, self.classes), jnp.int32).at[index, found].add(1, mode="drop")
        return ConfusionState(count_more(state.counts, counts), undefined)

    def value(self, state: ConfusionState) -> np.ndarray:
        """Return the counts as int64; all NaN if an output was NaN."""
        counts = whole(state.counts)
        return np.full(counts.shape, np.nan) if state.undefined else counts
