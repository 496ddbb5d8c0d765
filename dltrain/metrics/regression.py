"""Regression metrics: outputs and targets [B, T] in the units of the data (or both [B])."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dltrain.metrics.sums import Sum, host, kept, plus, widened, zero_sum
from dltrain.types import Array, Batch, Kind, Spec


def paired(outputs: Array, batch: Batch) -> tuple[Array, Array]:
    """Return outputs and targets as float [B, T], T the product of all axes except the first."""
    targets = jnp.asarray(batch["targets"])
    if outputs.shape != targets.shape and outputs.shape != (*targets.shape, 1):
        raise ValueError(
            "a regression metric needs outputs and targets of one shape [B, T]; found outputs "
            f"{list(outputs.shape)} and targets {list(targets.shape)}"
        )
    outputs = widened(outputs)
    return outputs.reshape(len(outputs), -1), targets.astype(outputs.dtype).reshape(len(targets), -1)


def mse(outputs: Array, batch: Batch) -> Array:
    """`(ŷ-y)²`, the mean over T -> [B]."""
    outputs, targets = paired(outputs, batch)
    return jnp.square(outputs - targets).mean(-1)


def mae(outputs: Array, batch: Batch) -> Array:
    """`|ŷ-y|`, the mean over T -> [B]."""
    outputs, targets = paired(outputs, batch)
    return jnp.abs(outputs - targets).mean(-1)


def mape(outputs: Array, batch: Batch) -> Array:
    """`|ŷ-y| / |y|` (0.1 is ten percent), mean over T -> [B]; huge where a target is zero, as in scikit-learn."""
    outputs, targets = paired(outputs, batch)
    floor = float(np.finfo(np.float64).eps)
    return (jnp.abs(outputs - targets) / jnp.maximum(jnp.abs(targets), floor)).mean(-1)


def outputs_of(spec: Spec) -> int:
    """Return T, the number of outputs of a regression."""
    if spec.task.target_kind is not Kind.NUMBERS:
        raise ValueError(f"a regression metric cannot evaluate task={spec.task}; use accuracy, f1 or log_loss")
    return spec.outputs


class SquareState(NamedTuple):
    """The sum of squared errors per output [T], and the number of examples."""

    squares: Sum
    count: Array


class RMSE:
    """The root of the mean squared error per output, averaged over the T outputs (as in scikit-learn)."""

    def __init__(self, *, spec: Spec):
        """Take the number of outputs from the data."""
        self.outputs = outputs_of(spec)

    def zero(self) -> SquareState:
        """Return the state without examples."""
        return SquareState(zero_sum((self.outputs,)), jnp.zeros((), jnp.int32))

    def add(self, state: SquareState, outputs: Array, batch: Batch) -> SquareState:
        """Add a batch."""
        outputs, targets = paired(outputs, batch)
        keep = kept(outputs[:, 0], batch)[:, None]
        squares = jnp.where(keep, jnp.square(outputs - targets), 0).sum(0)
        return SquareState(plus(state.squares, squares), state.count + keep[:, 0].sum(dtype=jnp.int32))

    def value(self, state: SquareState) -> float:
        """Return the error in the unit of the targets; NaN without examples."""
        count = np.asarray(state.count)
        return float(np.sqrt(host(state.squares) / count).mean()) if count else float("nan")


class SpreadState(NamedTuple):
    """Per output [T]: squared errors, and mean and squared deviations of the targets relative to `shift`."""

    errors: Sum
    count: Array
    shift: Array
    mean: Array
    deviations: Sum


class R2:
    """`1 - Σ(y-ŷ)² / Σ(y-ȳ)²`, the mean over T outputs; NaN if the targets of an output are all equal.

    Batches are merged by Chan's formula relative to the first target, so that a mean much larger than the spread
    (years, prices, temperatures in kelvin) loses no precision.
    """

    def __init__(self, *, spec: Spec):
        """Take the number of outputs from the data."""
        self.outputs = outputs_of(spec)

    def zero(self) -> SpreadState:
        """Return the state without examples."""
        zero = jnp.zeros(self.outputs)
        return SpreadState(
            zero_sum((self.outputs,)), jnp.zeros((), jnp.int32), zero, zero, zero_sum((self.outputs,))
        )

    def add(self, state: SpreadState, outputs: Array, batch: Batch) -> SpreadState:
        """Add a batch."""
        outputs, targets = paired(outputs, batch)
        keep = kept(outputs[:, 0], batch)[:, None]
        errors = jnp.where(keep, jnp.square(outputs - targets), 0).sum(0)
        count = keep[:, 0].sum(dtype=jnp.int32)
        first = targets[jnp.argmax(keep[:, 0])].astype(state.shift.dtype)
        shift = jnp.where(state.count > 0, state.shift, first)
        near = jnp.where(keep, targets.astype(shift.dtype) - shift[None, :], 0)
        # Counts of the batch, of earlier batches and of both, in floating point; at least 1 as divisors.
        n, past = count.astype(shift.dtype), state.count.astype(shift.dtype)
        mean = near.sum(0) / jnp.maximum(n, 1)
        apart = jnp.where(keep, near - mean[None, :], 0)
        within = jnp.square(apart).sum(0) - jnp.square(apart.sum(0)) / jnp.maximum(n, 1)
        step = mean - state.mean
        both = jnp.maximum(n + past, 1)
        deviations = plus(plus(state.deviations, within), jnp.square(step) * (n * past / both))
        return SpreadState(
            plus(state.errors, errors), state.count + count, shift, state.mean + step * (n / both), deviations
        )

    def value(self, state: SpreadState) -> float:
        """Return the score: 1 perfect, 0 as good as the mean, negative worse."""
        deviations = host(state.deviations)
        ratio = np.divide(host(state.errors), deviations, out=np.full(self.outputs, np.nan), where=deviations > 0)
        return float((1 - ratio).mean())
