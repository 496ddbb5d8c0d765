"""Schedules: factors of the learning rate, `(step, total, *, warmup_steps, ...) -> float32 scalar`.

`step` is the number of the update, from 0; `total` the planned number of updates; both may be traced. Update `step`
uses the factor times `optim.learning_rate`. Beyond `total` a schedule keeps its last value.

Warm-up: update `step < warmup_steps` is multiplied by `(step + 1) / warmup_steps` (so that the first one has a rate
above zero); the schedule starts after it and takes the remaining `total - warmup_steps` updates. Boundaries in
updates (`piecewise`) or fractions of the run (`step`) count from update 0.

Hand-written, since those of optax fix the number of updates when they are built; here it is a value in the state.
"""

from collections.abc import Sequence

import jax.numpy as jnp

from dltrain.types import Array

__all__ = [
    "constant",
    "cosine",
    "cosine_restarts",
    "exponential",
    "inverse_time",
    "linear",
    "one_cycle",
    "piecewise",
    "plateau",
    "polynomial",
    "step",
]

Count = int | Array


def _warmed(step: Count, total: Count, warmup_steps: Count) -> tuple[Array, Array, Array]:
    """Return the update counted from the end of the warm-up, the number of updates after it, the warm-up factor."""
    if isinstance(warmup_steps, int) and warmup_steps < 0:
        raise ValueError(f"warmup_steps={warmup_steps} must be 0 or more")
    step, total, warmup = (jnp.asarray(x, jnp.float32) for x in (step, total, warmup_steps))
    ramp = jnp.minimum((jnp.minimum(step, jnp.maximum(total - 1, 0)) + 1) / jnp.maximum(warmup, 1), 1)
    length = jnp.maximum(total - warmup, 1)
    return jnp.clip(step - warmup, 0, length), length, ramp


def _period(every: Count | None, length: Array) -> Array:
    """Return `every` in updates, or the whole length if None."""
    return length if every is None else jnp.asarray(every, jnp.float32)


def constant(step: Count, total: Count, *, warmup_steps: int = 0) -> Array:
    """The constant 1."""
    return _warmed(step, total, warmup_steps)[2]


def linear(step: Count, total: Count, *, warmup_steps: int = 0, final: float = 0.0) -> Array:
    """Linear from 1 to `final`."""
    t, length, ramp = _warmed(step, total, warmup_steps)
    return ramp * (1 + (final - 1) * t / length)


def polynomial(
    step: Count, total: Count, *, warmup_steps: int = 0, final: float = 0.0, power: float = 2.0
) -> Array:
    """`final + (1 - final)(1 - t/total)^power`."""
    t, length, ramp = _warmed(step, total, warmup_steps)
    return ramp * (final + (1 - final) * (1 - t / length) ** power)


def cosine(step: Count, total: Count, *, warmup_steps: int = 0, final: float = 0.0) -> Array:
    """Half a cosine from 1 to `final`. Loshchilov, Hutter, arXiv:1608.03983."""
    t, length, ramp = _warmed(step, total, warmup_steps)
    return ramp * _half_cosine(1.0, final, t / length)


def cosine_restarts(
    step: Count, total: Count, *, warmup_steps: int = 0, final: float = 0.0, cycles: int = 4, growth: float = 1.0
) -> Array:
    """`cycles` half cosines from 1 to `final`, each `growth` times as long as the previous one.

    Together they take the whole run; each starts at a whole update. SGDR: Loshchilov, Hutter, arXiv:1608.03983.
    """
    if cycles < 1:
        raise ValueError(f"cycles={cycles} must be 1 or more")
    t, length, ramp = _warmed(step, total, warmup_steps)
    lengths = [growth**i for i in range(cycles)]
    edges = [jnp.round(length * (sum(lengths[:i]) / sum(lengths))) for i in range(cycles + 1)]
    starts, ends = jnp.stack(edges[:-1]), jnp.stack(edges[1:])
    now = jnp.sum(t >= starts[1:])
    return ramp * _half_cosine(1.0, final, (t - starts[now]) / jnp.maximum(ends[now] - starts[now], 1))


def one_cycle(
    step: Count,
    total: Count,
    *,
    warmup_steps: int = 0,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Array:
    """From `1/div_factor` up to 1 over `pct_start` of the run, then down to `1/div_factor/final_div_factor`.

    `optim.learning_rate` is the peak. Both phases are half cosines, as in PyTorch's OneCycleLR. Smith, Topin,
    arXiv:1708.07120.
    """
    if not 0 <= pct_start <= 1:
        raise ValueError(f"pct_start={pct_start} must lie in 0..1")
    t, length, ramp = _warmed(step, total, warmup_steps)
    t = jnp.minimum(t, length - 1)
    first, last = 1 / div_factor, 1 / div_factor / final_div_factor
    peak = pct_start * length - 1
    up = _half_cosine(first, 1.0, t / jnp.maximum(peak, 1))
    down = _half_cosine(1.0, last, (t - peak) / jnp.maximum(length - 1 - peak, 1e-6))
    return ramp * jnp.where(t <= peak, up, down)


def plateau(
    step: Count,
    total: Count,
    *,
    warmup_steps: int = 0,
    scale: float | Array = 1.0,
    factor: float = 0.1,
    patience: int = 5,
    min_delta: float = 0.0,
    cooldown: int = 0,
    min_scale: float = 1e-4,
) -> Array:
    """1, multiplied by `factor` whenever the monitored metric stops improving.

    Args:
        step: number of the update.
        total: planned number of updates.
        warmup_steps: as in each schedule.
        scale: the product of the reductions so far; filled in by the engine.
        factor: of each reduction, below 1.
        patience: evaluations without improvement before a reduction.
        min_delta: the smallest change that counts as an improvement, in the unit of the monitored metric.
        cooldown: evaluations after a reduction that do not count.
        min_scale: the lower bound of `scale`.
    """
    if not 0 < factor < 1 or patience < 1 or min_delta < 0 or cooldown < 0 or not 0 <= min_scale <= 1:
        raise ValueError(
            f"schedule=plateau: factor={factor} must lie between 0 and 1, patience={patience} be 1 or more, "
            f"min_delta={min_delta} and cooldown={cooldown} 0 or more, min_scale={min_scale} in 0..1"
        )
    return _warmed(step, total, warmup_steps)[2] * scale


def _half_cosine(first: float, last: float, progress: Array) -> Array:
    """Interpolate from `first` to `last` for `progress` from 0 to 1."""
    return last + (first - last) * (1 + jnp.cos(jnp.pi * progress)) / 2


def exponential(
    step: Count, total: Count, *, warmup_steps: int = 0, rate: float = 0.01, every: int | None = None
) -> Array:
    """`rate^(t/every)`; without `every` (in updates) the last value of the run is `rate`."""
    t, length, ramp = _warmed(step, total, warmup_steps)
    return ramp * jnp.asarray(rate, jnp.float32) ** (t / _period(every, length))


def inverse_time(
    step: Count, total: Count, *, warmup_steps: int = 0, rate: float = 9.0, every: int | None = None
) -> Array:
    """`1 / (1 + rate·t/every)`; without `every` (in updates) the last value is `1 / (1 + rate)`."""
    t, length, ramp = _warmed(step, total, warmup_steps)
    return ramp / (1 + rate * t / _period(every, length))


def step(
    step: Count,
    total: Count,
    *,
    warmup_steps: int = 0,
    fractions: Sequence[float] = (0.5, 0.75),
    factor: float = 0.1,
) -> Array:
    """1, multiplied by `factor` at each of these `fractions` of the run (at the nearest whole update)."""
    ramp = _warmed(step, total, warmup_steps)[2]
    edges = jnp.round(jnp.asarray(fractions, jnp.float32) * jnp.asarray(total, jnp.float32))
    passed = jnp.sum(jnp.asarray(step, jnp.float32) >= edges).astype(jnp.float32)
    return ramp * jnp.asarray(factor, jnp.float32) ** passed


def piecewise(
    step: Count,
    total: Count,
    *,
    warmup_steps: int = 0,
    boundaries: Sequence[int] = (),
    factors: Sequence[float] = (),
) -> Array:
    """1, then `factors[i]` (of the learning rate, not of the previous factor) from update `boundaries[i]` on."""
    if len(boundaries) != len(factors):
        raise ValueError(f"{len(boundaries)} boundaries and {len(factors)} factors: both must have the same length")
    if list(boundaries) != sorted(boundaries):
        raise ValueError(f"boundaries={list(boundaries)} must be in ascending order")
    ramp = _warmed(step, total, warmup_steps)[2]
    t = jnp.minimum(jnp.asarray(step, jnp.float32), jnp.asarray(total, jnp.float32))
    passed = jnp.sum(t >= jnp.asarray(boundaries, jnp.float32))
    return ramp * jnp.asarray((1.0, *factors), jnp.float32)[passed]
