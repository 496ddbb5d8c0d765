"""Parts -> Program: the compiled functions of a run and the data on its device.

Over 300 lines, since these functions share the data, the layout, the shapes of the state and what lanes differ in.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding, SingleDeviceSharding

from dltrain.build.folds import Fitted, Folded
from dltrain.build.parts import Parts
from dltrain.build.plan import Plan
from dltrain.build.varied import Varied
from dltrain.data.order import PADDING
from dltrain.devices import hosts
from dltrain.devices.mesh import Layout, make_layout
from dltrain.devices.precision import PRECISIONS
from dltrain.engine import averages
from dltrain.engine.chunk import capacity, make_chunk
from dltrain.engine.evaluate import Apply, Evaluation, Evaluator, apply_model
from dltrain.engine.feed import ReadAhead, Resident, Streamed, read_ahead
from dltrain.engine.loop import Pace
from dltrain.engine.state import Graphs, TrainState, create, initial, named_leaves, split_module, trace_module
from dltrain.engine.step import Logs, make_step
from dltrain.errors import ConfigError
from dltrain.lanes.chunk import make_lane_chunk
from dltrain.lanes.meeting import Lane
from dltrain.metrics import Average
from dltrain.tree import Tree
from dltrain.types import Batch, Kind


class Program:
    """Compiled functions, data and layout that training, evaluation and a dry run share."""

    def __init__(self, parts: Parts, plan: Plan, folded: Folded | None = None) -> None:
        """Trace the model, which raises an error for shapes that do not fit; `folded`: several folds share it."""
        self.parts, self.plan = parts, plan
        self.folded = folded
        self.lane: Lane | None = None  # of several runs that train together
        self.among_others = False  # one of several runs that share what is compiled
        self.varied: Varied | None = None  # numbers in which its lanes differ, besides those of every state
        self.alone: Program | None = None  # the same without such numbers
        self.device: jax.Device | None = None  # one of several that train different lanes
        self.precision = PRECISIONS[plan.precision]
        layout = make_layout(plan.mesh, parts.pipeline.batch_size // parts.accumulate)
        self.module, self.graphs = trace_module(parts.make_model)
        self.layout: Layout | None = layout and layout.dividing(split_module(self.module)[1], plan.rules)
        if lost := [name for name in parts.spec.task.needs if not hasattr(self.module, name)]:
            raise ConfigError(f"model: task={parts.spec.task} needs a model with {' and '.join(lost)}{self.advice}")

    def start(self) -> TrainState:
        """Initialise the state of a new run."""
        return create(
            self.parts.make_model,
            self.parts.optimizer,
            seed=self.plan.seed,
            hparams=self._hparams,
            cast_to_param=self.precision.cast_to_param,
            averaged=self.plan.ema is not None,
            batch_size=self.parts.pipeline.batch_size,
            where=self.layout.of(self.shapes) if self.layout else None,
        )

    def place(self, state: TrainState) -> TrainState:
        """Move a loaded state to the devices of a new one."""
        return self.layout.place(state) if self.layout else state

    @property
    def wanted(self) -> dict[str, tuple[tuple[int, ...], Sharding]]:
        """Shape and sharding of each array of the state, by its name; {} on a single device."""
        if not self.layout:
            return {}
        where = jax.tree.leaves(self.layout.of(self.shapes))
        shapes = named_leaves(self.shapes)
        return {name: (leaf.shape, own) for (name, leaf), own in zip(shapes.items(), where, strict=True)}

    @cached_property
    def shapes(self) -> TrainState:
        """The state of a run, with shapes instead of arrays."""
        make = partial(initial, self.parts.make_model, self.parts.optimizer, self.precision.cast_to_param)
        averaged, batch_size = self.plan.ema is not None, self.parts.pipeline.batch_size
        return jax.eval_shape(lambda: make(jax.random.key(self.plan.seed), self._hparams, averaged, batch_size))

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers that the config gives to leaves of the state, by their names."""
        return {name: float(value) for name, value in self.parts.hparams.items() if name != "scale"}

    @property
    def _hparams(self) -> dict[str, np.generic]:
        numbers = {name: np.float32(value) for name, value in self.parts.hparams.items()}
        return {**numbers, "total_steps": np.int32(self.plan.total)}

    @cached_property
    def feed(self) -> Resident | Streamed:
        """The feed of chunks and evaluations."""
        parts, layout = self.parts, self.layout
        if parts.arrays is None:
            return Streamed(parts.source, layout.over_devices(1) if layout else None)
        own = SingleDeviceSharding(self.device) if self.device else None
        return Resident(parts.arrays, layout.replicated if layout else own)

    def _pick(self, data: Mapping[str, jax.Array], given: Any, i: jax.Array) -> Batch:
        if not self.layout:
            return self.feed.pick(data, given, i)
        return self.layout.batch(self.layout.within(self.feed.pick)(data, given, i))

    def _pick_fitted(self, data: Mapping[str, jax.Array], given: Any, i: jax.Array) -> tuple[Batch, Fitted]:
        """Pick a batch, and what was fitted on the training examples of its fold."""
        batches, fitted = given
        return self._pick(data, batches, i), fitted

    @property
    def _of_folds(self) -> Any:
        """What several folds have in the place of `_step` and `_pick`."""
        return (self._fold_step, self._pick_fitted) if self.folded else None

    @cached_property
    def _fitted(self) -> Fitted:
        """What was fitted on the training examples of this fold."""
        return self.folded.fitted(self.parts) if self.folded else {}

    @property
    def input_shapes(self) -> Any:
        """Shapes and dtypes of what `feed_chunk` returns."""
        shapes = self.feed.input_shapes(self.capacity, self.parts.pipeline.batch_size)
        return (shapes, self._fitted) if self.folded else shapes

    @property
    def data(self) -> Mapping[str, jax.Array]:
        """The arrays that stay on the device for the whole run."""
        return self.feed.data

    @cached_property
    def capacity(self) -> int:
        """K, the maximum number of steps of one chunk; not more than the shortest interval.

        At least two: with one, XLA compiles different code, which rounds differently, so that the interval of
        evaluations would affect the result.
        """
        most = capacity(self.feed.batch_bytes(self.parts.pipeline.batch_size))
        return max(2, min(most, self.plan.total, *self.plan.intervals))

    def make_pace(self) -> Pace:
        """Return the pace of a run: how many steps are dispatched at once."""
        return self.lane.make_pace() if self.lane else Pace(most=self.capacity)

    def variant(self, parts: Parts, plan: Plan, lane: Lane | None = None) -> "Program":
        """Return a program for other numbers, another order of the data or fold, which shares all that is compiled.

        It trains alone, or as a lane among others.
        """
        other = copy.copy(self)
        other.parts, other.plan, other.lane, other.among_others = parts, plan, lane, True
        other.__dict__.pop("ahead", None)  # its threads read in the order of this program
        if lane:
            other.__dict__["chunk"] = lane
        if self.folded:
            self._change_fold(other)
        if self.varied and (numbers := self.varied.of_loss(parts.hparams)):
            other.__dict__["evaluator"] = self.evaluator.with_numbers(numbers)
        return other

    def _change_fold(self, other: "Program") -> None:
        """Give a variant the examples of its fold, and what was fitted on them."""
        parts, feed = other.parts, self.feed
        if isinstance(feed, Resident):
            feed = feed.beginning(parts.begin)
        elif parts.source is not self.parts.source:
            feed = Streamed(parts.source, self.layout.over_devices(1) if self.layout else None)
        other.__dict__.pop("_fitted", None)
        other.__dict__["feed"] = feed
        evaluator = self.evaluator.with_numbers(other._fitted)
        other.__dict__["evaluator"] = evaluator.over(feed, batches=other.eval_batches, order=parts.in_batches)

    def varying(self, varied: Varied) -> "Program":
        """Return a program whose lanes differ in these numbers: its states have them as leaves."""
        other = copy.copy(self)
        other.varied, other.alone = varied, self
        parts = varied.parts_of(self.parts, varied.config)
        other.parts = replace(parts, optimizer=varied.optimizer(parts))
        for name in (
            "shapes",
            "lane_chunk",
            "by_device",
            *(["evaluator"] if varied.of_loss(parts.hparams) else []),
        ):
            other.__dict__.pop(name, None)
        return other

    def of_one_process(self) -> "Program":
        """Return a program for one device of this process, if several processes trained: it waits for nobody."""
        if hosts.count() == 1:
            return self
        other = copy.copy(self)
        other.layout = None
        for name in ("feed", "ahead", "chunk", "evaluator", "_mean"):
            other.__dict__.pop(name, None)
        return other

    @cached_property
    def by_device(self) -> tuple["Program", ...]:
        """This program on each of its devices alone, for lanes that are divided among them.

        What is compiled for one device is traced once for all.
        """
        if not self.layout:
            return (self,)
        found: list[Program] = []
        for device in self.layout.mesh.devices.flat:
            other = copy.copy(self)
            other.layout, other.device = None, device
            for name in ("feed", "ahead", "chunk", "lane_chunk", "evaluator", "_mean"):
                other.__dict__.pop(name, None)
            if found:
                other.__dict__["lane_chunk"] = found[0].lane_chunk
            found.append(other)
        return tuple(found)

    @cached_property
    def lane_chunk(self):
        """The chunk of several runs."""
        step, pick = self._of_folds or (self._lane_step, self._pick)
        return make_lane_chunk(step, pick)

    def untraceable(self) -> str:
        """Say why the numbers in which lanes differ cannot be traced; "" if they can."""
        counts = jax.ShapeDtypeStruct((1,), np.int32)
        try:
            self.lane_chunk.eval_shape((self.shapes,), self.feed.shapes, (self.input_shapes,), counts)
        except Exception as error:  # a part of a user's may raise any
            keys = ", ".join(self.varied.keys) if self.varied else ""
            return f"{keys}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return ""

    def _lane_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
        """Do a step with the numbers of this state."""
        varied, hparams = self.varied, state.hparams
        if not varied:
            return self._step(state, batch)
        parts = varied.traced(self.parts, hparams)
        ema = hparams.get("optim.ema", self.plan.ema)
        return self._step_of(parts, varied.graphs(self.graphs, parts, hparams), ema)(state, batch)

    @cached_property
    def ahead(self) -> ReadAhead | None:
        """The threads that prefetch a streamed data set."""
        if isinstance(self.feed, Resident):
            return None
        options = {"threads": self.plan.read_threads, "read_timeout": self.plan.read_timeout}
        return read_ahead(self.feed, self.parts.pipeline, ahead=self.capacity, **options)

    @cached_property
    def chunk(self):
        """`(state, data, feed, n) -> (state, logs)`, compiled at its first call."""
        layout = self.layout
        where = (layout.of(self.shapes), layout.replicated) if layout else None
        step, pick = self._of_folds or (self._step, self._pick)
        return make_chunk(layout.within(step) if layout else step, pick, where)

    @property
    def _step(self) -> Callable[[TrainState, Batch], tuple[TrainState, Logs]]:
        return self._step_of(self.parts, self.graphs, self.plan.ema)

    def _fold_step(self, state: TrainState, picked: tuple[Batch, Fitted]) -> tuple[TrainState, Logs]:
        """Do a step with what was fitted on the training examples of the fold of this batch."""
        batch, fitted = picked
        assert self.folded
        parts = self.folded.traced(self.parts, fitted)
        return self._step_of(parts, self.graphs, self.plan.ema)(state, batch)

    def _step_of(
        self, parts: Parts, graphs: Graphs, ema: float | jax.Array | None
    ) -> Callable[[TrainState, Batch], tuple[TrainState, Logs]]:
        means = {n: m.function for n, m in parts.metrics.items() if isinstance(m, Average)}
        return make_step(
            graphs=graphs,
            objective=parts.objective,
            optimizer=parts.optimizer,
            schedule=parts.schedule,
            preprocess=parts.preprocess,
            augment=parts.augment,
            metrics=means,
            log_every=self.plan.log_every,
            skip_nonfinite=self.plan.skip_nonfinite,
            precision=self.precision,
            accumulate=parts.accumulate,
            ema=ema,
            log_change=self.plan.stop.change is not None,
            sharded=self.layout is not None,
        )

    def feed_chunk(self, step: int, count: int) -> Any:
        """Return the feed of a chunk of the next `count` steps, [K, B] or [K, B, ...]."""
        pipeline = self.parts.pipeline
        if isinstance(self.feed, Streamed) and self.ahead:
            given = self.feed.stack(self.ahead.take(step, count), self.capacity, pipeline.batch_size)
        else:
            given = self.feed.load(pipeline.indices(step, count), self.capacity)
        return (given, self._fitted) if self.folded else given

    def batch(self, step: int) -> Batch:
        """Reread the raw batch of the step after `step` steps, [B, ...]."""
        indices = self.parts.pipeline.indices(step, 1)[0]
        return {**self.parts.source.read(np.maximum(indices, 0)), "mask": indices >= 0}

    @cached_property
    def evaluator(self) -> Evaluator:
        """The evaluator of any examples."""
        return self.make_evaluator()

    def make_evaluator(self, apply: Apply = apply_model) -> Evaluator:
        """Return an evaluator of any examples; `apply` takes the outputs from the model."""
        parts = self.parts
        loss, preprocess, numbers = self._evaluated
        return Evaluator(
            graphs=self.graphs,
            loss=loss,
            numbers=numbers,
            metrics=parts.metrics,
            preprocess=preprocess,
            feed=self.feed,
            batch_size=self._eval_size,
            batches=self.eval_batches,
            order=parts.in_batches,
            hidden=parts.spec.find(Kind.DECODER_TOKENS),
            pick=self._pick,
            precision=self.precision,
            where=self.layout.replicated if self.layout else None,
            apply=self.layout.within(apply) if self.layout else apply,
        )

    @property
    def _eval_size(self) -> int:
        """Examples of a batch of an evaluation, a multiple of the devices: padding does not change the results."""
        devices = self.layout.shares if self.layout else 1
        return -(-self.plan.eval_batch_size // devices) * devices

    @property
    def eval_batches(self) -> int:
        """The largest number of batches of an evaluation that are dispatched at once."""
        splits, size = self.parts.splits, self._eval_size
        largest = max(len(splits.validation), len(splits.test), 1)
        return min(-(-largest // size), capacity(self.feed.batch_bytes(size)))

    @property
    def _evaluated(self) -> tuple[Any, Any, Mapping[str, Any]]:
        """Loss and preprocessing of an evaluation, as functions of numbers if there are any, and these numbers."""
        parts, folded, varied = self.parts, self.folded, self.varied
        if folded:
            return (
                lambda fitted: folded.traced(parts, fitted).objective.loss,
                lambda fitted: folded.traced(parts, fitted).preprocess,
                self._fitted,
            )
        if varied and (numbers := varied.of_loss(parts.hparams)):
            return lambda numbers: varied.objective(parts, numbers).loss, lambda numbers: parts.preprocess, numbers
        return parts.objective.loss, parts.preprocess, {}

    @property
    def advice(self) -> str:
        """Return advice with the models that suit the task, according to their YAML."""
        models = " or ".join(f"model={name}" for name in self.parts.fitting_models)
        return f"; for task={self.parts.spec.task} try {models}" if models else ""

    @property
    def placed(self) -> TrainState:
        """The shapes of the state with their sharding."""
        if not self.layout:
            return self.shapes
        where = self.layout.of(self.shapes)
        return jax.tree.map(lambda s, at: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=at), self.shapes, where)

    @property
    def waited(self) -> Callable[[], float] | None:
        """A function that returns the seconds training has waited for streamed data; None if resident."""
        ahead = self.ahead
        return None if ahead is None else lambda: ahead.waited

    def close(self) -> None:
        """Stop the prefetching threads, and leave the other lanes."""
        if self.lane:
            self.lane.close()
        if self.ahead:
            self.ahead.close()

    def examples(self, split: str) -> np.ndarray:
        """Return the example numbers of a split; with `overfit_batches`, train is those batches."""
        if split == "train" and self.plan.overfit:
            indices = self.parts.pipeline.indices(0, self.parts.pipeline.steps_per_epoch).reshape(-1)
            return indices[indices != PADDING]
        return self.parts.splits[split]

    def evaluate(self, state: TrainState, split: str) -> Evaluation:
        """Evaluate a split."""
        return self.evaluator(*self.eval_params(state), self.examples(split))

    def outputs(self, state: TrainState, examples: np.ndarray) -> np.ndarray:
        """Return the outputs for these examples, [N, ...], in the units of the data."""
        return self.evaluator.outputs(*self.eval_params(state), examples)

    @property
    def averages(self) -> str:
        """A description of the averaged weights used for evaluation; empty if these are the weights themselves."""
        if self.plan.ema is not None:
            return f"the EMA of the weights (optim.ema={self.plan.ema:g})"
        mixed = averages.schedule_free_state(self.shapes.opt_state)
        return "the average of the iterates that schedule_free keeps" if mixed is not None else ""

    def eval_params(self, state: TrainState) -> tuple[Tree, Tree]:
        """Return (params, model_state) of the trained model: averaged weights, if there are any.

        Evaluation, figures and generation use these; only training itself uses the raw weights.
        """
        trees = (state.params, state.model_state, state.opt_state, state.ema)
        return self._mean(*trees) if self.averages else trees[:2]

    @cached_property
    def _mean(self) -> Callable[..., tuple[Any, Any]]:
        where = self.layout.of(self.shapes) if self.layout else None
        return jax.jit(averages.eval_params, out_shardings=(where.params, where.model_state) if where else None)
