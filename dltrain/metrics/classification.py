"""Metrics of classes: accuracy and its kin, log loss, the confusion matrix.

Outputs are logits: [B, K], or [B, 1] for two classes (class 1 where the logit is above 0). Targets are classes
int [B] or probabilities float [B, K], of which the largest counts.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.metrics.sums import kept, widened
from dltrain.types import Array, Batch, Spec, Task


def predicted(outputs: Array) -> Array:
    """The class of each row, int32 [B]; the first of equals."""
    if outputs.shape[-1] == 1:
        return (outputs[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(outputs, axis=-1).astype(jnp.int32)


def actual(outputs: Array, batch: Batch) -> Array:
    """The class that each row should have, int32 [B]; -1 where the target is no class."""
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
        "a metric of classes expects outputs [B, K] or [B, 1] and targets int [B] or float [B, K]; found outputs "
        f"{list(outputs.shape)} and targets {targets.dtype}{list(targets.shape)}"
    )


def accuracy(outputs: Array, batch: Batch) -> Array:
    """1 where the predicted class is right, else 0 -> [B]."""
    return (predicted(outputs) == actual(outputs, batch)).astype(jnp.float32)


def zero_one(outputs: Array, batch: Batch) -> Array:
    """1 where the predicted class is wrong, else 0 -> [B]: the error rate."""
    return 1 - accuracy(outputs, batch)


def top_k(outputs: Array, batch: Batch, *, k: int = 5) -> Array:
    """1 where the right class is among the k largest outputs -> [B]; of equal outputs the first counts as larger.

    So `k=1` is the accuracy, and a model that returns a constant gains nothing.
    """
    classes = outputs.shape[-1]
    if not 1 <= k <= classes:
        raise ValueError(f"k={k} must lie in 1..{classes}, the number of outputs")
    labels = actual(outputs, batch)[..., None]
    order = jnp.arange(classes, dtype=jnp.int32).reshape((1,) * (outputs.ndim - 1) + (-1,))
    own = jnp.where(order == labels, outputs, 0).sum(-1, keepdims=True)
    ahead = (outputs > own) | ((outputs == own) & (order < labels))
    return ((ahead.sum(-1) < k) & (labels[..., 0] >= 0)).astype(jnp.float32)


def log_loss(outputs: Array, batch: Batch) -> Array:
    """`-log p` of the right class (in nats) from logits -> [B]."""
    outputs = widened(outputs)
    labels = actual(outputs, batch)
    if outputs.shape[-1] == 1:
        outputs = jnp.concatenate([jnp.zeros_like(outputs), outputs], axis=-1)
    order = jnp.arange(outputs.shape[-1], dtype=jnp.int32).reshape((1,) * (outputs.ndim - 1) + (-1,))
    own = jnp.where(order == labels[..., None], outputs, 0).sum(-1)
    return jnp.where(labels >= 0, jax.nn.logsumexp(outputs, axis=-1) - own, jnp.nan)


def bits_per_character(outputs: Array, batch: Batch) -> Array:
    """`log_loss` in bits -> [B] or [B, L]."""
    return log_loss(outputs, batch) / float(np.log(2))


def count_classes(spec: Spec) -> int:
    """How many classes a matrix of them has: two for the one output of a binary task."""
    if spec.task is Task.REGRESSION:
        raise ValueError("a metric of classes cannot judge a regression; take rmse, mae, r2 or mse")
    return 2 if spec.task is Task.BINARY else spec.outputs


class Confusion:
    """Counts [K, K]: row = the true class, column = the predicted one."""

    def __init__(self, *, spec: Spec):
        """Take the number of classes from the data."""
        self.classes = count_classes(spec)

    def zero(self) -> Array:
        """Return the state of no rows."""
        return jnp.zeros((self.classes, self.classes), jnp.int32)

    def add(self, state: Array, outputs: Array, batch: Batch) -> Array:
        """Add a batch."""
        true, found = actual(outputs, batch), predicted(outputs)
        keep = kept(true, batch) & (true >= 0)
        # Masked rows are sent outside the matrix, where the scatter drops them.
        return state.at[jnp.where(keep, true, self.classes), found].add(1, mode="drop")

    def value(self, state: Array) -> np.ndarray:
        """Return the counts as int64."""
        return np.asarray(state, np.int64)
