"""Margin losses: functions of the score of the right class minus that of the others."""

from typing import Annotated

import jax
import jax.numpy as jnp

from dltrain.losses.targets import are_labels, example_mean, margin_of, paired
from dltrain.ranges import Range, Traced
from dltrain.types import Array, Batch


def hinge(outputs: Array, batch: Batch) -> Array:
    """`max(0, 1 - y·z)`, y in {-1, 1}: outputs [B, 1], or [B, K] with z_y - max z_j as y·z (Crammer) -> [B]."""
    return jax.nn.relu(1 - margin_of("hinge", outputs, batch))


def perceptron(outputs: Array, batch: Batch) -> Array:
    """`max(0, -y·z)`, y in {-1, 1}: outputs [B, 1] or [B, K], targets int [B] -> [B].

    An example on the boundary counts as wrong (its gradient is -y), as in Rosenblatt's rule: otherwise weights that
    start at zero would never change.
    """
    margin = margin_of("perceptron", outputs, batch)
    return jnp.where(margin > 0, 0, -margin)


def exponential(
    outputs: Array, batch: Batch, *, limit: Traced[Annotated[float, Range(above=0, high=80)]] = 30.0
) -> Array:
    """`exp(-y·z)` for classes, `exp(|y - ŷ|)` (mean over the outputs) for values -> [B].

    Above an exponent of `limit` it continues as the tangent there, so that neither value nor gradient overflows, in
    float32 up to an exponent of 3e25.
    """
    if are_labels(jnp.asarray(batch["targets"])):
        x = -margin_of("exponential", outputs, batch)
    else:
        predicted, targets = paired("exponential", outputs, batch)
        x = jnp.abs(targets - predicted)
    inside = jnp.minimum(x, limit)
    return example_mean(jnp.exp(inside) * (1 + x - inside))
