"""Checks and conversions of targets and options, shared by the losses."""

import jax.numpy as jnp

from dltrain.types import Array, Batch


def widened(x: Array) -> Array:
    """Convert to at least float32: sums of exponentials are inaccurate in 16 bits."""
    x = jnp.asarray(x)
    wide = jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize >= 4
    return x if wide else x.astype(jnp.float32)


def are_labels(targets: Array) -> bool:
    return not jnp.issubdtype(targets.dtype, jnp.floating)


def misfit(loss: str, expected: str, outputs: Array, targets: Array, hint: str = "") -> ValueError:
    found = f"outputs {outputs.dtype}{list(outputs.shape)} and targets {targets.dtype}{list(targets.shape)}"
    return ValueError(f"{loss}: expected {expected}; found {found}" + (f"; {hint}" if hint else ""))


def with_classes(loss: str, outputs: Array, batch: Batch) -> tuple[Array, Array]:
    """Return outputs [B, K] and targets int [B] (as int32) or probabilities [B, K]."""
    outputs, targets = widened(outputs), jnp.asarray(batch["targets"])
    expected = "outputs [B, K] with K > 1, targets int [B] or float [B, K]"
    if outputs.ndim < 2 or outputs.shape[-1] < 2:
        hint = "with one output per example use loss=binary_cross_entropy, otherwise one output per class"
        raise misfit(loss, expected, outputs, targets, hint)
    if are_labels(targets) and targets.shape == outputs.shape[:-1]:
        return outputs, targets.astype(jnp.int32)
    if not are_labels(targets) and targets.shape == outputs.shape:
        return outputs, targets.astype(outputs.dtype)
    raise misfit(loss, expected, outputs, targets)


def where_valid(valid: Array, values: Array) -> Array:
    """Return NaN where not valid, by a select, so that an example masked later has gradient 0 instead of NaN."""
    return jnp.where(valid, values, jnp.nan)


def is_class(classes: int, labels: Array) -> Array:
    """Return a one-hot encoding of the labels: bool [..., K]."""
    return jnp.arange(classes, dtype=jnp.int32).reshape((1,) * labels.ndim + (-1,)) == labels[..., None]


def is_known(classes: int, labels: Array) -> Array:
    """Tell where the label is a class: bool [...]."""
    return (labels >= 0) & (labels < classes)


def pick(values: Array, labels: Array) -> Array:
    """Return the value of each label, [..., K] and int [...] -> [...]; NaN where the label is not a class.

    A select and a sum instead of a gather, whose gradient is a scatter, which is slow on a CPU.
    """
    picked = jnp.where(is_class(values.shape[-1], labels), values, 0).sum(-1)
    return where_valid(is_known(values.shape[-1], labels), picked)


def paired(loss: str, outputs: Array, batch: Batch) -> tuple[Array, Array]:
    """Return outputs and targets as float arrays of one shape [B, ...]; classes become one-hot."""
    outputs, targets = widened(outputs), jnp.asarray(batch["targets"])
    if are_labels(targets) and outputs.ndim == targets.ndim + 1 and outputs.shape[-1] > 1:
        outputs, targets = with_classes(loss, outputs, batch)
        classes = outputs.shape[-1]
        outputs = where_valid(is_known(classes, targets)[..., None], outputs)
        return outputs, is_class(classes, targets).astype(outputs.dtype)
    if outputs.shape == (*targets.shape, 1):
        outputs = outputs[..., 0]
    if outputs.shape != targets.shape:
        raise misfit(loss, "outputs and targets of one shape [B, T]", outputs, targets)
    return outputs, targets.astype(outputs.dtype)


def example_mean(values: Array) -> Array:
    """Return the mean over all axes except the first."""
    return values.mean(axis=tuple(range(1, values.ndim)))


def margin_of(loss: str, outputs: Array, batch: Batch) -> Array:
    """Return the margin [B]: y·z with y in {-1, 1} for one output, z_y - max z_j for K outputs."""
    targets = jnp.asarray(batch["targets"])
    expected = "targets int [B] with outputs [B, 1] or [B, K]"
    if not are_labels(targets):
        raise misfit(loss, expected, jnp.asarray(outputs), targets)
    if jnp.ndim(outputs) == targets.ndim + 1 and outputs.shape[-1] > 1:
        logits, labels = with_classes(loss, outputs, batch)
        others = jnp.where(is_class(logits.shape[-1], labels), -jnp.inf, logits)
        return pick(logits, labels) - others.max(-1)
    logits, labels = paired(loss, outputs, batch)
    return where_valid((labels == 0) | (labels == 1), (2 * labels - 1) * logits)
