"""Schedules: factors of the learning rate, `(step, total, *, warmup_steps, ...) -> float32 scalar`.

`step` is the number of the step, from 0, counting those without an update (skipped because of a NaN, or left out);
`total` is the planned number of steps; both may be traced. Step `step` uses the factor times
`optim.learning_rate`. Beyond `total` a schedule keeps its last value.

Warm-up: step `step < warmup_steps` is multiplied by `(step + 1) / warmup_steps` (so that the first one has a rate
above zero); the schedule starts after it and takes the remaining `total - warmup_steps` steps. Boundaries in
steps (`piecewise`) or fractions of the run (`step`) count from step 0.

Hand-written, since those of optax fix the number of steps when they are built; here it is a value in the state.
"""

from collections.abc import Sequence
from typing import Annotated

import jax.numpy as jnp

from dltrain.ops.curves import flat_cosine as _flat_cosine
from dltrain.ranges import Count, NonNegative, Positive, Probability, Range, Size, Traced
from dltrain.types import Array

__all__ = [
    "constant",
    "cosine",
    "cosine_restarts",
    "coslog",
    "exponential",
    "flat_cosine",
    "inverse_time",
    "linear",
    "one_cycle",
    "piecewise",
    "plateau",
    "polynomial",
    "step",
]

Steps = int | Array


def _warmed(step: Steps, total: Steps, warmup_steps: Steps) -> tuple[Array, Array, Array]:
    """Return the step counted from the end of the warm-up, the number of steps after it, the warm-up factor."""
    step, total, warmup = (jnp.asarray(x, jnp.float32) for x in (step, total, warmup_steps))
    ramp = jnp.minimum((jnp.minimum(step, jnp.maximum(total - 1, 0)) + 1) / jnp.maximum(warmup, 1), 1)
    length = jnp.maximum(total - warmup, 1)
    return jnp.clip(step - warmup, 0, length), length, ramp


def _period(every: Steps | None, length: Array) -> Array:
    """Return `every` in steps, or the whole length if None."""
    return length if every is None else jnp.asarray(every, jnp.float32)


def constant(step: Steps, total: Steps, *, warmup_steps: Traced[Count] = 0) -> Array:
    """The constant 1."""
    return _warmed(step, total, warmup_steps)[2]


def linear(
    step: Steps, total: Steps, *, warmup_steps: Traced[Count] = 0, final: Traced[NonNegative] = 0.0
) -> Array:
    """Linear from 1 to `final`."""
    t, length, ramp = _warmed(step, total, warmup_steps)
    return ramp * (1 + (final - 1) * t / length)


def polynomial(
    step: Steps,
    total: Steps,
    *,
    warmup_steps: Traced[Count] = 0,
    final: Traced[NonNegative] = 0.0,
    power: Traced[Positive] = 2.0,
) -> Array:
    """`final + (1 - final)(1 - t/total)^power`."""
    t, length, ramp = _warmed(step, total, warmup_steps)
    return ramp * (final + (1 - final) * (1 - t / length) ** power)


def cosine(
    step: Steps, total: Steps, *, warmup_steps: Traced[Count] = 0, final: Traced[NonNegative] = 0.0
) -> Array:
    """Half a cosine from 1 to `final`. Loshchilov, Hutter, arXiv:1608.03983."""
    t, length, ramp = _warmed(step, total, warmup_steps)
    return ramp * _half_cosine(1.0, final, t / length)


def cosine_restarts(
    step: Steps,
    total: Steps,
    *,
    warmup_steps: Traced[Count] = 0,
    final: Traced[NonNegative] = 0.0,
    cycles: Annotated[int, Range(1, 100)] = 4,
    growth: Traced[Annotated[float, Range(0.01, 100)]] = 1.0,
) -> Array:
    """`cycles` half cosines from 1 to `final`, each `growth` times as long as the previous one.

    Together they take the whole run; each starts at a whole step. SGDR: Loshchilov, Hutter, arXiv:1608.03983.
    """
    t, length, ramp = _warmed(step, total, warmup_steps)
    lengths = [growth**i for i in range(cycles)]
    edges = [jnp.round(length * (sum(lengths[:i]) / sum(lengths))) for i in range(cycles + 1)]
    starts, ends = jnp.stack(edges[:-1]), jnp.stack(edges[1:])
    now = jnp.sum(t >= starts[1:])
    return ramp * _half_cosine(1.0, final, (t - starts[now]) / jnp.maximum(ends[now] - starts[now], 1))


def flat_cosine(step: Steps, total: Steps, *, warmup_steps: Traced[Count] = 0) -> Array:
    """1 in the first half of the run, then half a cosine down to 0."""
    t, length, ramp = _warmed(step, total, warmup_steps)
    return ramp * _flat_cosine(t / length)


def coslog(step: Steps, total: Steps, *, warmup_steps: Traced[Count] = 0, cycles: Size = 4) -> Array:
    """`(1 - cos(2π log₂(1 + (2^cycles - 1) t/total))) / 2`: 0 to 1 and back `cycles` times, each twice as long.

    Holzmüller, Grinsztajn and Steinwart, Better by Default, arXiv:2407.04491 (coslog4).
    """
    t, length, ramp = _warmed(step, total, warmup_steps)
    return ramp * (1 - jnp.cos(2 * jnp.pi * jnp.log2(1 + (2.0**cycles - 1) * t / length))) / 2


def one_cycle(
    step: Steps,
    total: Steps,
    *,
    warmup_steps: Traced[Count] = 0,
    pct_start: Traced[Probability] = 0.3,
    div_factor: Traced[Annotated[float, Range(low=1)]] = 25.0,
    final_div_factor: Traced[Annotated[float, Range(low=1)]] = 1e4,
) -> Array:
    """From `1/div_factor` up to 1 over `pct_start` of the run, then down to `1/div_factor/final_div_factor`.

    `optim.learning_rate` is the peak. Both phases are half cosines, as in PyTorch's OneCycleLR. Smith, Topin,
    arXiv:1708.07120.
    """
    t, length, ramp = _warmed(step, total, warmup_steps)
    t = jnp.minimum(t, length - 1)
    first, last = 1 / div_factor, 1 / div_factor / final_div_factor
    peak = pct_start * length - 1
    up = _half_cosine(first, 1.0, t / jnp.maximum(peak, 1))
    down = _half_cosine(1.0, last, (t - peak) / jnp.maximum(length - 1 - peak, 1e-6))
    return ramp * jnp.where(t <= peak, up, down)


def plateau(
    step: Steps,
    total: Steps,
    *,
    warmup_steps: Traced[Count] = 0,
    scale: float | Array = 1.0,
    factor: Traced[Annotated[float, Range(above=0, below=1)]] = 0.1,
    patience: Traced[Size] = 5,
    min_delta: Traced[NonNegative] = 0.0,
    cooldown: Traced[Count] = 0,
    min_scale: Traced[Probability] = 1e-4,
) -> Array:
    """1, multiplied by `factor` whenever the monitored metric stops improving.

    Args:
        step: number of the step.
        total: planned number of steps.
        warmup_steps: as in each schedule.
        scale: the product of the reductions so far; filled in by the engine.
        factor: of each reduction, below 1.
        patience: evaluations without improvement before a reduction.
        min_delta: the smallest change that counts as an improvement, in the unit of the monitored metric.
        cooldown: evaluations after a reduction that do not count.
        min_scale: the lower bound of `scale`.
    """
    return _warmed(step, total, warmup_steps)[2] * scale


def _half_cosine(first: float, last: float, progress: Array) -> Array:
    """Interpolate from `first` to `last` for `progress` from 0 to 1."""
    return last + (first - last) * (1 + jnp.cos(jnp.pi * progress)) / 2


def exponential(
    step: Steps,
    total: Steps,
    *,
    warmup_steps: Traced[Count] = 0,
    rate: Traced[Positive] = 0.01,
    every: Traced[Size] | None = None,
) -> Array:
    """`rate^(t/every)`; without `every` (in steps) the last value of the run is `rate`."""
    t, length, ramp = _warmed(step, total, warmup_steps)
    return ramp * jnp.asarray(rate, jnp.float32) ** (t / _period(every, length))


def inverse_time(
    step: Steps,
    total: Steps,
    *,
    warmup_steps: Traced[Count] = 0,
    rate: Traced[NonNegative] = 9.0,
    every: Traced[Size] | None = None,
) -> Array:
    """`1 / (1 + rate·t/every)`; without `every` (in steps) the last value is `1 / (1 + rate)`."""
    t, length, ramp = _warmed(step, total, warmup_steps)
    return ramp / (1 + rate * t / _period(every, length))


def step(
    step: Steps,
    total: Steps,
    *,
    warmup_steps: Traced[Count] = 0,
    fractions: Sequence[Probability] = (0.5, 0.75),
    factor: Traced[Positive] = 0.1,
) -> Array:
    """1, multiplied by `factor` at each of these `fractions` of the run (at the nearest whole step)."""
    ramp = _warmed(step, total, warmup_steps)[2]
    edges = jnp.round(jnp.asarray(fractions, jnp.float32) * jnp.asarray(total, jnp.float32))
    passed = jnp.sum(jnp.asarray(step, jnp.float32) >= edges).astype(jnp.float32)
    return ramp * jnp.asarray(factor, jnp.float32) ** passed


def piecewise(
    step: Steps,
    total: Steps,
    *,
    warmup_steps: Traced[Count] = 0,
    boundaries: Sequence[Count] = (),
    factors: Sequence[NonNegative] = (),
) -> Array:
    """1, then `factors[i]` (of the learning rate, not of the previous factor) from step `boundaries[i]` on."""
    if len(boundaries) != len(factors):
        raise ValueError(f"{len(boundaries)} boundaries and {len(factors)} factors: both must have the same length")
    if list(boundaries) != sorted(boundaries):
        raise ValueError(f"boundaries={list(boundaries)} must be in ascending order")
    ramp = _warmed(step, total, warmup_steps)[2]
    t = jnp.minimum(jnp.asarray(step, jnp.float32), jnp.asarray(total, jnp.float32))
    passed = jnp.sum(t >= jnp.asarray(boundaries, jnp.float32))
    return ramp * jnp.asarray((1.0, *factors), jnp.float32)[passed]
