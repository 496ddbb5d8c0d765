"""The learning rate range test: a short training in which each step has a larger learning rate than the last.

It is the training step of the run, compiled once: its first steps on its batches, with another schedule. The rate
is a function of the number of the step, as that of any schedule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from time import monotonic
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.build.compiling import compile_training
from dltrain.build.init_from import evaluated_leaves, with_weights
from dltrain.build.parts import Parts
from dltrain.build.plan import Plan
from dltrain.build.program import Program
from dltrain.data.progress import progress
from dltrain.engine.loop import Pace
from dltrain.engine.state import TrainState
from dltrain.errors import CheckpointError, ConfigError
from dltrain.optimizers.extras import needs
from dltrain.runs.folder import existing
from dltrain.runs.restore import Warn, load_best
from dltrain.tuning.curve import SKIPPED, Suggestion, divergence, hardly_falls, recommend, smoothed, suggest
from dltrain.types import Array


@dataclass(frozen=True)
class RangeTest:
    """The measured curve; entry k of each array is that of step k."""

    rates: np.ndarray  # float32 [N], every rate of the test
    losses: np.ndarray  # float32 [n], the loss of the batch before its update; n < N if the test ended early
    count: int  # points before the loss diverged
    diverged: str  # how it did; "" if it did not

    @cached_property
    def means(self) -> np.ndarray:
        """The smoothed losses, float64 [n]."""
        return smoothed(self.losses)

    @cached_property
    def suggestions(self) -> tuple[Suggestion, ...]:
        """The suggested learning rates, by rule."""
        return suggest(self.rates, self.means[: self.count])

    @property
    def recommended(self) -> Suggestion | None:
        """The suggestion to follow; None if the loss did not fall, or hardly."""
        if not self.suggestions or hardly_falls(self.losses[: self.count], self.means[: self.count]):
            return None
        return recommend(self.suggestions)

    def warnings(self) -> list[str]:
        """Return what makes the result doubtful, and what to do about it."""
        means, steps = self.means[: self.count], len(self.rates)
        smaller, larger = f"lowest={_typed(self.rates[0] / 100)}", f"highest={_typed(self.rates[-1] * 10)}"
        if not self.suggestions and self.diverged:
            return [
                "the loss diverges before it falls; try smaller rates, and more of them: "
                f"{smaller} rates={2 * steps}"
            ]
        if self.recommended is None:
            return [
                f"the loss hardly falls, which may be chance; try {larger} or rates={2 * steps}, or whether the "
                "model learns at all (overfit_batches=1)"
            ]
        if not self.diverged and means.argmin() >= len(means) - 1 - len(means) // SKIPPED:
            return [f"the loss still falls at the largest rate; try {larger}"]
        return []


def range_test(
    parts: Parts,
    plan: Plan,
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    rates: int = 100,
    init_from: str | None = None,
    warn: Warn = print,
) -> RangeTest:
    """Train `rates` steps with learning rates that grow geometrically, and return their losses.

    Args:
        parts: of the run.
        plan: of the run; dropout rates, augmentation and the like change over its length, as they would in it.
        lowest: the first learning rate.
        highest: the last one.
        rates: number of steps.
        init_from: the folder of a run whose weights are the initial ones; it is only read.
        warn: is told of damaged checkpoints there.

    Raises:
        ConfigError: the optimizer has no learning rate to vary, or the range is empty.
        MemoryExhausted: training does not fit into the memory.
    """
    if not lowest < highest:
        raise ConfigError(f"lowest={lowest:g} highest={highest:g}: lowest must be below highest")
    check_optimizer(parts)
    tried = np.geomspace(lowest, highest, rates, dtype=np.float32)
    program = make_program(parts, plan, tried)
    try:
        compile_training(program)
        state = program.start()
        if init_from:
            state = program.place(_with_weights(state, init_from, warn))
        return _measure(program, state, tried)
    finally:
        program.close()


def check_optimizer(parts: Parts) -> None:
    """Raise ConfigError if the optimizer has no learning rate, or finds the length of each step itself."""
    if "learning_rate" not in parts.hparams:
        raise ConfigError(
            "optim: this optimizer has no learning_rate to find; set optim.learning_rate, or optim=adam"
        )
    if "value_fn" in needs(parts.optimizer({n: jnp.float32(v) for n, v in parts.hparams.items()})):
        raise ConfigError(
            "optim: this optimizer finds the length of each step by a line search; keep its default learning rate, "
            "or choose another optimizer, such as optim=adam"
        )


def rate_words(node: Mapping[str, Any], rate: float) -> list[str]:
    """Return the key=value words that set the learning rate, and those of parameter groups in proportion to it.

    Args:
        node: the config's node `optim`; the range test varies all its learning rates together.
        rate: the learning rate that was found.
    """
    groups = {n: own["learning_rate"] for n, own in (node["groups"] or {}).items() if "learning_rate" in own}
    rates = {f"groups.{n}.learning_rate": own * rate / node["learning_rate"] for n, own in groups.items()}
    return [f"optim.{key}={float(f'{value:.1e}'):g}" for key, value in {"learning_rate": rate, **rates}.items()]


def make_program(parts: Parts, plan: Plan, rates: np.ndarray) -> Program:
    """Return the program of a run whose step k has the learning rate `rates[k]`, and which evaluates nothing."""
    table = jnp.asarray(rates)

    def schedule(step: Array, total: Array) -> Array:
        del total
        return table[jnp.minimum(step, len(rates) - 1)]

    hparams = {name: value for name, value in parts.hparams.items() if name != "scale"}  # that of schedule=plateau
    varied = replace(parts, schedule=schedule, hparams={**hparams, "learning_rate": 1.0})
    total = max(plan.total, len(rates))
    return Program(
        varied, replace(plan, total=total, intervals=(len(rates),), splits=(), monitor=None, skip_nonfinite=False)
    )


def _measure(program: Program, state: TrainState, rates: np.ndarray) -> RangeTest:
    """Train until the loss diverges; chunks of any length run the same code, so their ends change nothing."""
    losses = np.zeros(0, np.float32)
    pace = Pace(most=program.capacity)
    with progress("trying learning rates", len(rates), unit="steps") as advance:
        while len(losses) < len(rates):
            n, began = min(pace.steps, len(rates) - len(losses)), monotonic()
            feed = program.feed_chunk(len(losses), n)
            state, logs = program.chunk(state, program.data, feed, np.int32(n))
            found = _read(logs, n)
            losses = np.concatenate([losses, found["loss"][: _finite(found)]])
            advance(n)
            pace.update(n, monotonic() - began)
            if _finite(found) < n:
                where = f"at a rate of {rates[len(losses)]:.3g} the loss or its gradient is not finite"
                end = divergence(smoothed(losses))
                return RangeTest(rates, losses, len(losses) if end is None else end, where)
            if (end := divergence(smoothed(losses))) is not None:
                where = f"at a rate of {rates[end]:.3g} the loss exceeds four times its best value"
                return RangeTest(rates, losses, end, where)
    return RangeTest(rates, losses, len(losses), "")


def _typed(rate: float) -> str:
    return f"{float(f'{rate:.1g}'):g}"


def _read(logs: Mapping[str, Any], n: int) -> dict[str, np.ndarray]:
    return {name: np.asarray(jax.device_get(logs[name]))[:n] for name in ("loss", "finite")}


def _finite(found: Mapping[str, np.ndarray]) -> int:
    """Return the number of steps before the first that is not finite."""
    wrong = np.flatnonzero((found["finite"] == 0) | ~np.isfinite(found["loss"]))
    return int(wrong[0]) if wrong.size else len(found["loss"])


def _with_weights(state: TrainState, source: str, warn: Warn) -> TrainState:
    """Return the state with the weights that another run evaluates best, where name and shape match."""
    found = load_best(existing(source), warn=warn)
    state, taken, _ = with_weights(state, evaluated_leaves(found.leaves))
    if not taken:
        raise CheckpointError(
            f"init_from={source}: none of its parameters has the name and shape of one of this model"
        )
    return state
