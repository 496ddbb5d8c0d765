"""Losses that are a score of the whole batch, as values per example whose weighted mean is that score."""

from typing import Literal

import jax
import jax.numpy as jnp

from dltrain.losses.outputs import takes
from dltrain.losses.targets import are_labels, is_class, is_known, misfit, paired, where_valid, with_classes
from dltrain.ranges import Size
from dltrain.types import Array, Batch


@takes("logits")
def f1(
    outputs: Array, batch: Batch, *, average: Literal["macro", "micro", "binary"] = "macro", microbatches: Size = 1
) -> Array:
    """`1 - F1` with `F1 = 2 Σ p·y / (Σ p + Σ y)`, p the probabilities: [B, K] or [B, 1] logits, int [B] -> [B].

    The sums run over the batch, masked and weighted like its mean, so a batch should have examples of every class.
    Single values may be negative: only their mean is 1 - F1. A validation loss is the mean over its batches.

    Args:
        outputs: logits.
        batch: `targets` int [B] or probabilities [B, K], `mask`, `weights`.
        average: macro: the mean F1 of the classes in the batch; micro: of all classes together, which is the mean
            probability of the right one; binary: of class 1 of two.
        microbatches: the number of microbatches per batch (`optim.accumulate`). The F1 of microbatches is
            not that of the batch, so only micro allows more than one.
    """
    if microbatches > 1 and average != "micro":
        raise ValueError(
            f"loss=f1 is a score of the whole batch, which optim.accumulate={microbatches} splits; "
            "set optim.accumulate=1, or loss.average=micro"
        )
    valid = jnp.asarray(batch["mask"]).astype(bool)
    p, y = _probabilities(jnp.where(valid.reshape((-1,) + (1,) * (outputs.ndim - 1)), outputs, 0), batch)
    if average == "micro":
        return 1 - (p * y).sum(-1)
    weights = valid.astype(p.dtype) * jnp.asarray(batch.get("weights", 1.0), p.dtype)
    weights = weights[:, None]
    # Masked examples are left out by a select, since their targets are arbitrary.
    p, y = (jnp.where(valid[:, None], values, 0) for values in (p, y))
    there = (weights * y).sum(0, keepdims=True)
    both = (weights * p).sum(0, keepdims=True) + there
    counts = there > 0
    if average == "binary":
        if p.shape[-1] != 2:
            raise ValueError(f"loss.average=binary needs two classes, found {p.shape[-1]}; use macro")
        counts = jnp.asarray([[False, True]])
    shares = jnp.where(counts, 2 * p * y / jnp.where(both > 0, both, 1), 0)
    return 1 - weights.sum() * shares.sum(-1) / jnp.maximum(counts.sum(), 1).astype(p.dtype)


def _probabilities(outputs: Array, batch: Batch) -> tuple[Array, Array]:
    """Return probabilities and targets [B, K], [B, 2] for one logit; NaN where a label is not a class."""
    if outputs.ndim == 2 and outputs.shape[-1] > 1:
        logits, targets = with_classes("f1", outputs, batch)
        if are_labels(targets):
            logits = where_valid(is_known(logits.shape[-1], targets)[:, None], logits)
            targets = is_class(logits.shape[-1], targets).astype(logits.dtype)
        return jax.nn.softmax(logits), targets
    logits, targets = paired("f1", outputs, batch)
    if logits.ndim != 1:
        raise misfit("f1", "outputs [B, K] or [B, 1], targets int [B] or float [B, K]", outputs, targets)
    logits = where_valid((targets >= 0) & (targets <= 1), logits)
    p = jax.nn.sigmoid(logits)
    return jnp.stack([1 - p, p], -1), jnp.stack([1 - targets, targets], -1)
