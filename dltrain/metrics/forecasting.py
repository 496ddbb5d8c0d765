"""Metrics of forecasts: outputs and targets [B, H, C], H steps of C columns, and of quantiles [B, ..., Q]."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from dltrain.metrics.regression import middle, paired
from dltrain.metrics.sums import (
    Count,
    Squares,
    Sum,
    count_more,
    host,
    host_squares,
    kept,
    plus,
    plus_squares,
    whole,
    widened,
    zero_count,
    zero_squares,
    zero_sum,
)
from dltrain.types import Array, Batch, Spec

STEP_METRICS = ("mse", "mae", "rmse", "mape")
"""Columns of the table that `PerStep` returns."""


def coverage(outputs: Array, batch: Batch) -> Array:
    """Return the share of targets from the lowest to the highest quantile, [B, ..., Q] -> [B].

    With the quantiles 0.1 and 0.9 at the ends it is 0.8 if they are right on average.
    """
    targets = jnp.asarray(batch["targets"])
    if outputs.shape[:-1] != targets.shape:
        raise ValueError(
            f"coverage needs outputs [B, T, Q] of several quantiles (loss=quantile loss.q=[0.1,0.5,0.9]); found "
            f"{list(outputs.shape)} and targets {list(targets.shape)}"
        )
    outputs = widened(outputs)
    targets = targets.astype(outputs.dtype)
    inside = (outputs.min(-1) <= targets) & (targets <= outputs.max(-1))
    found = inside.reshape(len(targets), -1).mean(-1, dtype=outputs.dtype)
    return jnp.where(jnp.isnan(outputs).reshape(len(outputs), -1).any(-1), jnp.nan, found)


class RootState(NamedTuple):
    """The squared errors, summed, and their number."""

    squares: Squares
    count: Count


class RootMSE:
    """The root of the mean squared error over all steps and columns: the root of `mse`."""

    def zero(self) -> RootState:
        """Return the state without examples."""
        return RootState(zero_squares((1,)), zero_count())

    def add(self, state: RootState, outputs: Array, batch: Batch) -> RootState:
        """Add a batch."""
        outputs, targets = paired(outputs, batch)
        keep = kept(outputs[:, 0], batch)[:, None]
        errors = jnp.where(keep, outputs - targets, 0).reshape(-1, 1)
        number = keep.sum(dtype=jnp.int32) * outputs.shape[1]
        return RootState(plus_squares(state.squares, errors), count_more(state.count, number))

    def value(self, state: RootState) -> float:
        """Return the error in the unit of the targets; NaN without examples."""
        count = whole(state.count)
        return float(np.sqrt(host_squares(state.squares)[0] / count)) if count else float("nan")


class StepState(NamedTuple):
    """Sums over examples and columns for each step [H], and the number of their terms."""

    squares: Squares
    absolute: Sum
    relative: Sum
    count: Count


class PerStep:
    """MSE, MAE, RMSE and MAPE of each step of the horizon, means over examples and columns: float64 [H, 4]."""

    def __init__(self, *, spec: Spec):
        """Take the horizon from the data."""
        if len(spec.target.shape) != 2:
            raise ValueError(f"per_step needs targets [H, C], steps of columns, found {list(spec.target.shape)}")
        self.shape = spec.target.shape

    def zero(self) -> StepState:
        """Return the state without examples."""
        steps = self.shape[:1]
        return StepState(zero_squares(steps), zero_sum(steps), zero_sum(steps), zero_count())

    def add(self, state: StepState, outputs: Array, batch: Batch) -> StepState:
        """Add a batch."""
        targets = jnp.asarray(batch["targets"])
        outputs = widened(middle(outputs, targets)).reshape(targets.shape)
        targets = targets.astype(outputs.dtype)
        keep = kept(outputs[:, 0, 0], batch)
        error = jnp.where(keep[:, None, None], outputs - targets, 0)
        size = jnp.maximum(jnp.abs(targets), float(np.finfo(np.float64).eps))
        rows = error.swapaxes(1, 2).reshape(-1, self.shape[0])  # examples and columns, steps
        return StepState(
            plus_squares(state.squares, rows),
            plus(state.absolute, jnp.abs(error).sum((0, 2))),
            plus(state.relative, (jnp.abs(error) / size).sum((0, 2))),
            count_more(state.count, keep.sum(dtype=jnp.int32) * self.shape[1]),
        )

    def value(self, state: StepState) -> np.ndarray:
        """Return a row for each step, with the columns of STEP_METRICS; NaN without examples or of NaN."""
        count, absolute = whole(state.count), host(state.absolute)
        if not count or np.isnan(absolute).any():
            return np.full((self.shape[0], len(STEP_METRICS)), np.nan)
        mse = host_squares(state.squares) / count
        return np.stack([mse, absolute / count, np.sqrt(mse), host(state.relative) / count], 1)
