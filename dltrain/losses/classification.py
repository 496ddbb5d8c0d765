"""Losses for classes and distributions, from logits (`nll`: from probabilities)."""

from collections.abc import Sequence
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from dltrain.losses.outputs import takes
from dltrain.losses.targets import (
    are_labels,
    example_mean,
    is_class,
    is_known,
    margin_of,
    misfit,
    paired,
    pick,
    where_valid,
    with_classes,
)
from dltrain.ranges import NonNegative, Probability, Range, Traced
from dltrain.types import Array, Batch, is_zero


@takes("logits")
def cross_entropy(
    outputs: Array,
    batch: Batch,
    *,
    label_smoothing: Traced[Probability] = 0.0,
    class_weights: Sequence[NonNegative] | Literal["balanced"] | None = None,
) -> Array:
    """`-log softmax(z)_y`: outputs [B, K] logits, targets int [B] or probabilities [B, K] -> [B].

    Args:
        outputs: Logits, any number of leading axes.
        batch: Its `targets` have the same leading axes.
        label_smoothing: ε in 0..1: the target becomes 1-ε times itself plus ε times the uniform distribution.
        class_weights: K factors, one per class; balanced: N / (K N_k), from the N_k training examples of each
            class. The mean over the batch is not divided by their sum (as in PyTorch with `reduction="mean"`).
    """
    logits, targets = with_classes("cross_entropy", outputs, batch)
    surprise = -jax.nn.log_softmax(logits)
    if class_weights is not None:
        _check_weights(class_weights, logits.shape[-1])
        surprise = surprise * jnp.asarray(class_weights, logits.dtype).reshape((1,) * (logits.ndim - 1) + (-1,))
    values = pick(surprise, targets) if are_labels(targets) else (targets * surprise).sum(-1)
    if is_zero(label_smoothing):
        return values
    smoothing = jnp.asarray(label_smoothing, logits.dtype)
    return (1 - smoothing) * values + smoothing * surprise.mean(-1)


@takes("logits", independent=True)
def binary_cross_entropy(
    outputs: Array,
    batch: Batch,
    *,
    pos_weight: Traced[NonNegative] = 1.0,
    label_smoothing: Traced[Probability] = 0.0,
    class_weights: Sequence[NonNegative] | Literal["balanced"] | None = None,
) -> Array:
    """`-[w y log σ(z) + (1-y) log(1-σ(z))]` from logits [B, 1] or [B]; [B, T] is the mean over T labels -> [B].

    Args:
        outputs: Logits.
        batch: `targets` in 0..1, int or float: [B] for one logit, [B, T] for T independent labels.
        pos_weight: w, the weight of positive targets.
        label_smoothing: ε in 0..1: y becomes (1-ε) y + ε/2.
        class_weights: two factors, of targets 0 and 1; balanced: N / (2 N_k), from the training examples.
    """
    raw = jnp.asarray(batch["targets"])
    if outputs.ndim == raw.ndim + 1 and outputs.shape[-1] > 1:
        hint = "for one class of several use loss=cross_entropy"
        raise misfit("binary_cross_entropy", "outputs [B, 1] or the targets' shape", outputs, raw, hint)
    logits, targets = paired("binary_cross_entropy", outputs, batch)
    logits = where_valid((targets >= 0) & (targets <= 1), logits)
    if not is_zero(label_smoothing):
        smoothing = jnp.asarray(label_smoothing, logits.dtype)
        targets = (1 - smoothing) * targets + smoothing / 2
    positive = jnp.asarray(pos_weight, logits.dtype) * targets * jax.nn.softplus(-logits)
    negative = (1 - targets) * jax.nn.softplus(logits)
    if class_weights is not None:
        _check_weights(class_weights, 2)
        no, yes = (jnp.asarray(weight, logits.dtype) for weight in class_weights)
        return example_mean(yes * positive + no * negative)
    return example_mean(positive + negative)


def _check_weights(weights: Sequence[float] | str, classes: int) -> None:
    """Raise ValueError unless there is a weight for each class."""
    if isinstance(weights, str):
        raise ValueError(f"class_weights={weights}: needs one class per example as target")
    if len(weights) != classes:
        raise ValueError(f"class_weights has {len(weights)} values for {classes} classes")


@takes("logits")
def focal(outputs: Array, batch: Batch, *, gamma: Traced[NonNegative] = 2.0) -> Array:
    """`(1-p)^γ` times the cross-entropy, p the probability of the right class: [B, K] or [B, 1], int [B] -> [B].

    γ = 0 is the cross-entropy. Lin et al., Focal loss for dense object detection, arXiv:1708.02002, without α.
    """
    if jnp.ndim(outputs) > 1 and outputs.shape[-1] > 1:
        logits, labels = with_classes("focal", outputs, batch)
        if not are_labels(labels):
            raise misfit("focal", "targets int [B]", logits, labels)
        # Before the product below: otherwise the NaN of a masked example reaches the gradient through the other
        # factor.
        logits = where_valid(is_known(logits.shape[-1], labels)[..., None], logits)
        values = pick(-jax.nn.log_softmax(logits), labels)
        others = jnp.where(is_class(logits.shape[-1], labels), -jnp.inf, logits)
        log_rest = jax.nn.logsumexp(others, axis=-1) - jax.nn.logsumexp(logits, axis=-1)
    else:
        margin = margin_of("focal", outputs, batch)
        values, log_rest = jax.nn.softplus(-margin), -jax.nn.softplus(margin)
    # (1-p)^γ as an exponential: the power has an infinite slope at p = 1 for γ < 1.
    return jnp.exp(jnp.asarray(gamma, values.dtype) * log_rest) * values


@takes("probabilities")
def nll(outputs: Array, batch: Batch, *, eps: Traced[Annotated[float, Range(above=0, below=1)]] = 1e-12) -> Array:
    """`-log ŷ_y` from probabilities: outputs [B, K] or [B, 1], targets int [B] or float [B, K] -> [B].

    For a model that ends with softmax or sigmoid; for logits use `cross_entropy`, which is exact where this one
    saturates. Probabilities below `eps` count as `eps`.
    """
    if jnp.ndim(outputs) < 2 or outputs.shape[-1] == 1:
        p, y = paired("nll", outputs, batch)
        p = where_valid((y >= 0) & (y <= 1), p)
        return -(y * jnp.log(jnp.maximum(p, eps)) + (1 - y) * jnp.log(jnp.maximum(1 - p, eps)))
    p, targets = with_classes("nll", outputs, batch)
    surprise = -jnp.log(jnp.maximum(p, eps))
    return pick(surprise, targets) if are_labels(targets) else (targets * surprise).sum(-1)


@takes("logits")
def kl(outputs: Array, batch: Batch) -> Array:
    """`Σ p (log p - log softmax(z))`: logits [B, K], targets a distribution p float [B, K] (or int [B]) -> [B]."""
    values = cross_entropy(outputs, batch)
    targets = jnp.asarray(batch["targets"])
    if are_labels(targets):
        return values
    return values + jax.scipy.special.xlogy(targets, targets).sum(-1).astype(values.dtype)
