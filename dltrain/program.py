"""Parts -> Program: the compiled functions of a run and the data on its device."""

from functools import cached_property, partial

import jax
import numpy as np

from dltrain.assemble import Parts
from dltrain.data.pipeline import PADDING
from dltrain.engine.chunk import capacity, make_chunk
from dltrain.engine.evaluate import Evaluation, Evaluator
from dltrain.engine.feed import place
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
        self.capacity = min(capacity(parts.pipeline.batch_size), plan.total)

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
    def data(self) -> dict[str, jax.Array]:
        """The whole data set on the device."""
        return place(self.parts.arrays)

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
        return make_chunk(step)

    def feed(self, step: int, count: int) -> np.ndarray:
        """Rows of the batches of the next `count` steps, int32 [K, B]."""
        rows = self.parts.pipeline.indices(step, count)
        return np.pad(rows, ((0, self.capacity - count), (0, 0)), constant_values=PADDING)

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
            data=self.data,
            batch_size=size,
            batches=-(-largest // size),
        )

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
