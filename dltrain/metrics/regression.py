"""Regression metrics: outputs and targets [B, T] in the units of the data (or both [B])."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.metrics.sums import (
    Count,
    Squares,
    Sum,
    as_float,
    count_more,
    host,
    host_squares,
    kept,
    make_room,
    plus,
    plus_squares,
    whole,
    widened,
    zero_count,
    zero_squares,
    zero_sum,
)
from dltrain.types import Array, Batch, Kind, Spec


def paired(outputs: Array, batch: Batch) -> tuple[Array, Array]:
    """Return outputs and targets as float [B, T], T the product of all axes except the first.

    Of quantiles, [B, T, Q] with Q > 1, the middle one is compared.
    """
    targets = jnp.asarray(batch["targets"])
    outputs = middle(outputs, targets)
    if outputs.shape != targets.shape and outputs.shape != (*targets.shape, 1):
        raise ValueError(
            "a regression metric needs outputs and targets of one shape [B, T]; found outputs "
            f"{list(outputs.shape)} and targets {list(targets.shape)}"
        )
    outputs = widened(outputs)
    return outputs.reshape(len(outputs), -1), targets.astype(outputs.dtype).reshape(len(targets), -1)


def middle(outputs: Array, targets: Array) -> Array:
    """Return the middle one of predicted quantiles, [B, ..., Q] -> [B, ...]; other outputs stay as they are."""
    several = targets.ndim > 1 and outputs.shape[:-1] == targets.shape and outputs.shape[-1] > 1
    return jnp.sort(outputs, -1)[..., outputs.shape[-1] // 2] if several else outputs


def mse(outputs: Array, batch: Batch) -> Array:
    """`(ŷ-y)²`, the mean over T -> [B].

    In float32 the square of an error above 1.8e19 is infinite, and that of one below 1e-23 is zero; `RMSE` has
    neither limit.
    """
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


def poisson_deviance(outputs: Array, batch: Batch) -> Array:
    """`2 (y log(y/ŷ) - y + ŷ)`, the mean over T -> [B]: 0 for a perfect prediction; ŷ must be above 0."""
    outputs, targets = paired(outputs, batch)
    logs = jnp.log(jnp.maximum(outputs, float(np.finfo(np.float32).tiny)))
    values = jax.scipy.special.xlogy(targets, targets) - targets * logs - targets + outputs
    return 2 * jnp.where(outputs > 0, values, jnp.nan).mean(-1)


def outputs_of(spec: Spec) -> int:
    """Return T, the number of outputs of a regression."""
    if spec.task.target_kind is not Kind.NUMBERS:
        raise ValueError(f"a regression metric cannot evaluate task={spec.task}; use accuracy, f1 or log_loss")
    return spec.target.size


Averaging = Literal["mean", "none"]
"""The mean over the T outputs, or a score of each, by name."""


def averaged(scores: np.ndarray, names: Sequence[str], average: Averaging) -> float | dict[str, float]:
    """Return the mean of the scores of the outputs, or each by name."""
    if average == "mean":
        return float(scores.mean())
    return {name: float(score) for name, score in zip(names, scores, strict=True)}


def names_of(spec: Spec) -> tuple[str, ...]:
    """Return the names of the T outputs, their numbers if they have none."""
    count = outputs_of(spec)
    names = spec.target.names
    return names if len(names) == count else tuple(str(i) for i in range(count))


class SquareState(NamedTuple):
    """The squared errors per output [T], and the number of examples."""

    squares: Squares
    count: Count


class RMSE:
    """The root of the mean squared error per output, averaged over the T outputs (as in scikit-learn)."""

    def __init__(self, average: Averaging = "mean", *, spec: Spec):
        """Set the average, mean or none; take the number of outputs from the data."""
        self.outputs, self.names, self.average = outputs_of(spec), names_of(spec), average

    def zero(self) -> SquareState:
        """Return the state without examples."""
        return SquareState(zero_squares((self.outputs,)), zero_count())

    def add(self, state: SquareState, outputs: Array, batch: Batch) -> SquareState:
        """Add a batch."""
        outputs, targets = paired(outputs, batch)
        keep = kept(outputs[:, 0], batch)[:, None]
        squares = plus_squares(state.squares, jnp.where(keep, outputs - targets, 0))
        return SquareState(squares, count_more(state.count, keep[:, 0].sum(dtype=jnp.int32)))

    def value(self, state: SquareState) -> float | dict[str, float]:
        """Return the error in the unit of the targets; NaN without examples."""
        count = whole(state.count)
        errors = np.sqrt(host_squares(state.squares) / count) if count else np.full(self.outputs, np.nan)
        return averaged(errors, self.names, self.average)


class SpreadState(NamedTuple):
    """Per output [T]: squared errors, and mean and squared deviations of the targets relative to `shift`."""

    errors: Squares
    count: Count
    shift: Array
    mean: Array
    deviations: Squares


class R2:
    """`1 - Σ(y-ŷ)² / Σ(y-ȳ)²`, the mean over T outputs; NaN if the targets of an output are all equal.

    Batches are merged by Chan's formula relative to the first target, so that a mean much larger than the spread
    (years, prices, temperatures in kelvin) loses no precision.
    """

    def __init__(self, average: Averaging = "mean", *, spec: Spec):
        """Set the average, mean or none; take the number of outputs from the data."""
        self.outputs, self.names, self.average = outputs_of(spec), names_of(spec), average

    def zero(self) -> SpreadState:
        """Return the state without examples."""
        zero = jnp.zeros(self.outputs)
        squares = zero_squares((self.outputs,))
        return SpreadState(squares, zero_count(), zero, zero, squares)

    def add(self, state: SpreadState, outputs: Array, batch: Batch) -> SpreadState:
        """Add a batch."""
        outputs, targets = paired(outputs, batch)
        keep = kept(outputs[:, 0], batch)[:, None]
        errors = plus_squares(state.errors, jnp.where(keep, outputs - targets, 0))
        count = keep[:, 0].sum(dtype=jnp.int32)
        first = targets[jnp.argmax(keep[:, 0])].astype(state.shift.dtype)
        past = as_float(state.count, first.dtype)
        shift = jnp.where(past > 0, state.shift, first)
        near = jnp.where(keep, targets.astype(shift.dtype) - shift[None, :], 0)
        # Counts of the batch, of earlier batches and of both, in floating point; at least 1 as divisors.
        n = count.astype(shift.dtype)
        mean = near.sum(0) / jnp.maximum(n, 1)
        apart = jnp.where(keep, near - mean[None, :], 0)
        step = mean - state.mean
        both = jnp.maximum(n + past, 1)
        squares, unit = make_room(state.deviations, jnp.maximum(jnp.abs(apart).max(0), jnp.abs(step)))
        apart = apart / unit[None, :]
        within = jnp.square(apart).sum(0) - jnp.square(apart.sum(0)) / jnp.maximum(n, 1)
        deviations = plus(plus(squares.sum, within), jnp.square(step / unit) * (n * past / both))
        return SpreadState(
            errors,
            count_more(state.count, count),
            shift,
            state.mean + step * (n / both),
            squares._replace(sum=deviations),
        )

    def why_undefined(self, targets: np.ndarray) -> str:
        """Return why the score is NaN for these targets, [N, T] or [N], whatever is predicted; "" if it is not."""
        columns = targets.astype(np.float32).reshape(len(targets), -1)
        if len(targets) == 1:
            return "it has one example"
        return "its targets are all equal" if (columns == columns[:1]).all(0).any() else ""

    def value(self, state: SpreadState) -> float | dict[str, float]:
        """Return the score: 1 perfect, 0 as good as the mean, negative worse."""
        deviations = host_squares(state.deviations)
        ratio = np.divide(
            host_squares(state.errors), deviations, out=np.full(self.outputs, np.nan), where=deviations > 0
        )
        return averaged(1 - ratio, self.names, self.average)


class ErrorState(NamedTuple):
    """The sum of the absolute errors per output [T], and the number of examples."""

    errors: Sum
    count: Count


class TargetMAE:
    """The mean absolute error of each output, by name."""

    def __init__(self, *, spec: Spec):
        """Take the names of the outputs from the data."""
        self.names = names_of(spec)

    def zero(self) -> ErrorState:
        """Return the state without examples."""
        return ErrorState(zero_sum((len(self.names),)), zero_count())

    def add(self, state: ErrorState, outputs: Array, batch: Batch) -> ErrorState:
        """Add a batch."""
        outputs, targets = paired(outputs, batch)
        keep = kept(outputs[:, 0], batch)[:, None]
        errors = plus(state.errors, jnp.where(keep, jnp.abs(outputs - targets), 0).sum(0))
        return ErrorState(errors, count_more(state.count, keep.sum(dtype=jnp.int32)))

    def value(self, state: ErrorState) -> float | dict[str, float]:
        """Return the errors in the units of the targets; NaN without examples, and all if an output was NaN."""
        count, errors = whole(state.count), host(state.errors)
        errors = errors / count if count and not np.isnan(errors).any() else np.full(len(self.names), np.nan)
        return averaged(errors, self.names, "none")
