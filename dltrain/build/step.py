"""Parts -> the step of a run."""

from collections.abc import Callable
from dataclasses import dataclass

from dltrain.build.parts import Parts
from dltrain.build.plan import Plan
from dltrain.devices.precision import Precision
from dltrain.engine.state import Graphs, TrainState
from dltrain.engine.step import Logs, make_step
from dltrain.metrics import Average
from dltrain.types import Array, Batch


@dataclass(frozen=True)
class StepParts:
    """What a step computes with; some of it may be traced, where runs of one program differ in it."""

    parts: Parts
    graphs: Graphs
    ema: float | Array | None  # the decay of the EMA of the weights


def make_train_step(
    made: StepParts, plan: Plan, precision: Precision, *, sharded: bool
) -> Callable[[TrainState, Batch], tuple[TrainState, Logs]]:
    """Make the step of a plan; `sharded`: its batches are divided over devices."""
    parts = made.parts
    return make_step(
        graphs=made.graphs,
        objective=parts.objective,
        optimizer=parts.optimizer,
        schedule=parts.schedule,
        preprocess=parts.preprocess,
        augment=parts.augment,
        metrics={n: m.function for n, m in parts.metrics.items() if isinstance(m, Average)},
        log_every=plan.log_every,
        skip_nonfinite=plan.skip_nonfinite,
        precision=precision,
        accumulate=parts.accumulate,
        ema=made.ema,
        log_change=plan.stop.change is not None,
        sharded=sharded,
    )
