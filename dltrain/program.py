"""Parts -> Program: the compiled functions of a run and the data on its device."""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np

from dltrain.assemble import Parts
from dltrain.data.pipeline import PADDING
from dltrain.engine.chunk import capacity, make_chunk
from dltrain.engine.evaluate import Evaluation, Evaluator
from dltrain.engine.feed import ReadAhead, Resident, Streamed, read_ahead
from dltrain.engine.state import TrainState, create, initial, trace_module
from dltrain.engine.step import make_step
from dltrain.metrics import Average
from dltrain.plan import Plan


class Program:
    """What training, evaluation and a dry run have in common."""

    def __init__(self, parts: Parts, plan: Plan) -> None:
        """Trace the model; shapes that do not fit are found here."""
        self.parts, self.plan = parts, plan
        self.module, self.graphs = trace_module(parts.make_model)

    def start(self) -> TrainState:
        """Initialise the state of a new run."""
        return create(self.parts.make_model, self.parts.optimizer, seed=self.plan.seed, hparams=self._hparams)

    @cached_property
    def shapes(self) -> TrainState:
        """The state of a run with shapes in place of arrays."""
        make = partial(initial, self.parts.make_model, self.parts.optimizer)
        return jax.eval_shape(lambda: make(jax.random.key(self.plan.seed), self._hparams))

    @property
    def _hparams(self) -> dict[str, np.generic]:
        numbers = {name: np.float32(value) for name, value in self.parts.hparams.items()}
        return {**numbers, "total_steps": np.int32(self.plan.total)}

    @cached_property
    def supply(self) -> Resident | Streamed:
        """What chunks and evaluations are fed from."""
        parts = self.parts
        return Streamed(parts.source) if parts.arrays is None else Resident(parts.arrays)

    @property
    def data(self) -> Mapping[str, jax.Array]:
        """What stays on the device for the whole run."""
        return self.supply.data

    @cached_property
    def capacity(self) -> int:
        """K, the most steps of one chunk; no more than will ever be due at once."""
        most = capacity(self.supply.batch_bytes(self.parts.pipeline.batch_size))
        return min(most, self.plan.total, *self.plan.intervals)

    @cached_property
    def ahead(self) -> ReadAhead | None:
        """The threads that read a streamed data set."""
        if isinstance(self.supply, Resident):
            return None
        options = {"threads": self.plan.read_threads, "patience": self.plan.patience_of_reading}
        return read_ahead(self.supply, self.parts.pipeline, ahead=self.capacity, **options)

    @cached_property
    def chunk(self):
        """`(state, data, feed, n) -> (state, logs)`, compiled at its first call."""
        parts = self.parts
        means = {n: m.function for n, m in parts.metrics.items() if isinstance(m, Average)}
        step = make_step(
            graphs=self.graphs,
            objective=parts.objective,
            optimizer=parts.optimizer,
            schedule=parts.schedule,
            preprocess=parts.preprocess,
            augment=parts.augment,
            metrics=means,
            log_every=self.plan.log_every,
            skip_nonfinite=self.plan.skip_nonfinite,
        )
        return make_chunk(step, self.supply.pick)

    def feed(self, step: int, count: int) -> Any:
        """Make what a chunk of the next `count` steps is given, [K, B] or [K, B, ...]."""
        pipeline = self.parts.pipeline
        if isinstance(self.supply, Streamed) and self.ahead:
            return self.supply.stack(self.ahead.take(step, count), self.capacity, pipeline.batch_size)
        return self.supply.load(pipeline.indices(step, count), self.capacity)

    @cached_property
    def evaluator(self) -> Evaluator:
        """Evaluates any rows."""
        parts, size = self.parts, self.plan.eval_batch_size
        largest = max(len(parts.splits.validation), len(parts.splits.test), 1)
        return Evaluator(
            graphs=self.graphs,
            loss=parts.objective.loss,
            metrics=parts.metrics,
            preprocess=parts.preprocess,
            feed=self.supply,
            batch_size=size,
            batches=min(-(-largest // size), capacity(self.supply.batch_bytes(size))),
        )

    @property
    def waited(self) -> Callable[[], float] | None:
        """Tell how many seconds training has stood still for data so far, where it is streamed."""
        ahead = self.ahead
        return None if ahead is None else lambda: ahead.waited

    def close(self) -> None:
        """Let the threads that read end."""
        if self.ahead:
            self.ahead.close()

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split; with `overfit_batches`, train is those batches."""
        if split == "train" and self.plan.overfit:
            rows = self.parts.pipeline.indices(0, self.parts.pipeline.steps_per_epoch).reshape(-1)
            return rows[rows != PADDING]
        return self.parts.splits[split]

    def evaluate(self, state: TrainState, split: str) -> Evaluation:
        """Evaluate a split with these parameters."""
        return self.evaluator(state.params, state.rest, self.rows(split))

    def outputs(self, state: TrainState, rows: np.ndarray) -> np.ndarray:
        """Return the outputs for these rows, [N, ...], in the units of the data."""
        return self.evaluator.outputs(state.params, state.rest, rows)
