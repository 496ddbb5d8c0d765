"""Parts -> Program: the compiled functions of a run and the data on its device.

Over 300 lines, since these functions share the data, the layout, the shapes of the state and what lanes differ in.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding, SingleDeviceSharding

from dltrain.build.differences import Difference, Differences, Values
from dltrain.build.parts import Parts
from dltrain.build.plan import Plan
from dltrain.build.step import StepParts, make_train_step
from dltrain.build.varied import Varied
from dltrain.data.order import PADDING
from dltrain.devices import hosts
from dltrain.devices.mesh import Layout, make_layout
from dltrain.devices.precision import PRECISIONS
from dltrain.engine import averages
from dltrain.engine.chunk import capacity, make_chunk, traced_once
from dltrain.engine.evaluate import Apply, Evaluation, Evaluator, apply_model
from dltrain.engine.feed import ReadAhead, Resident, Streamed, read_ahead
from dltrain.engine.loop import Pace
from dltrain.engine.state import TrainState, create, initial, named_leaves, split_module, trace_module
from dltrain.engine.step import Logs
from dltrain.errors import ConfigError
from dltrain.lanes.chunk import make_lane_chunk
from dltrain.lanes.meeting import Lane
from dltrain.tree import Tree
from dltrain.types import Batch, Kind

# Cached values of a program, by what they depend on.
_OF_A_RUN = ("ahead", "_inputs")
_OF_THE_DEVICES = ("feed", "ahead", "_traced_step", "chunk", "lane_chunk", "evaluator", "_mean")
_OF_THE_STATE = ("shapes", "averages", "_traced_step", "chunk", "lane_chunk", "by_device")


class Program:
    """Compiled functions, data and layout that training, evaluation and a dry run share."""

    def __init__(self, parts: Parts, plan: Plan, differences: Sequence[Difference] = ()) -> None:
        """Trace the model, which raises an error for shapes that do not fit.

        `differences` are those of the runs that share it.
        """
        self.parts, self.plan = parts, plan
        self.differences = Differences(tuple(differences))
        self.lane: Lane | None = None  # of several runs that train together
        self.among_others = False  # one of several runs that share what is compiled
        self.alone: Program | None = None  # the same without numbers in which only lanes differ
        self.device: jax.Device | None = None  # one of several that train different lanes
        self.memory = 0  # bytes that training needs, once it is compiled
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

    def _pick_given(self, data: Mapping[str, jax.Array], given: Any, i: jax.Array) -> tuple[Batch, Values]:
        """Pick a batch, and the values of its run."""
        batches, inputs = given
        return self._pick(data, batches, i), inputs

    @cached_property
    def _inputs(self) -> Values:
        """The values of this run that come with its batches."""
        return self.differences.inputs(self.parts)

    @property
    def input_shapes(self) -> Any:
        """Shapes and dtypes of what `feed_chunk` returns."""
        return self.feed.input_shapes(self.capacity, self.parts.pipeline.batch_size), self._inputs

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
        # Optimizer and initial weights are compiled, too.
        parts = replace(parts, make_model=self.parts.make_model, optimizer=self.parts.optimizer)
        other = self._copy(_OF_A_RUN, parts=parts, plan=plan, lane=lane, among_others=True)
        if lane:
            other.__dict__["chunk"] = lane
        if self.differences:
            self._change_values(other)
        return other

    def _change_values(self, other: "Program") -> None:
        """Give a variant the examples of its fold, and evaluations with its values."""
        parts, feed = other.parts, self.feed
        if isinstance(feed, Resident):
            feed = feed.beginning(parts.begin)
        elif parts.source is not self.parts.source:
            feed = Streamed(parts.source, self.layout.over_devices(1) if self.layout else None)
        other.__dict__["feed"] = feed
        evaluator = self.evaluator.with_numbers(other._evaluated)
        other.__dict__["evaluator"] = evaluator.over(feed, batches=other.eval_batches, order=parts.in_batches)

    def varying(self, varied: Varied) -> "Program":
        """Return a program whose lanes differ in these numbers, too: its states have them as leaves."""
        differences = Differences((*self.differences.of, varied))
        parts = replace(
            differences.parts_of(self.parts, varied.config, varied.trust),
            make_model=self.parts.make_model,
            optimizer=varied.optimizer(self.parts),
        )
        other = self._copy(_OF_THE_STATE, parts=parts, differences=differences, alone=self)
        if other._evaluated.keys() != self._evaluated.keys():
            other.__dict__["evaluator"] = other.make_evaluator()  # before lanes ask for it, each in its thread
        return other

    def _copy(self, *stale: Sequence[str], **fields: Any) -> "Program":
        """Return a program with other fields, which shares all cached values but the stale ones."""
        other = copy.copy(self)
        vars(other).update(fields)
        for name in (name for names in stale for name in names):
            vars(other).pop(name, None)
        return other

    def of_one_process(self) -> "Program":
        """Return a program for one device of this process, if several processes trained: it waits for nobody."""
        if hosts.count() == 1:
            return self
        return self._copy(_OF_THE_DEVICES, layout=None)

    @cached_property
    def by_device(self) -> tuple["Program", ...]:
        """This program on each of its devices alone, for lanes that are divided among them.

        What is compiled for one device is traced once for all.
        """
        if not self.layout:
            return (self,)
        found: list[Program] = []
        for device in self.layout.mesh.devices.flat:
            other = self._copy(_OF_THE_DEVICES, layout=None, device=device)
            if found:
                other.__dict__["lane_chunk"] = found[0].lane_chunk
            found.append(other)
        return tuple(found)

    @cached_property
    def _traced_step(self):
        """The step, traced once for a run alone and for lanes."""
        return traced_once(self._step)

    @cached_property
    def lane_chunk(self):
        """The chunk of several runs."""
        return make_lane_chunk(self._traced_step, self._pick_given)

    def untraceable(self) -> str:
        """Say why the numbers in which lanes differ cannot be traced; "" if they can."""
        counts = jax.ShapeDtypeStruct((1,), np.int32)
        try:
            self.lane_chunk.eval_shape((self.shapes,), self.feed.shapes, (self.input_shapes,), counts)
        except Exception as error:  # a part of a user's may raise any
            return f"{', '.join(self.differences.keys)}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return ""

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
        return make_chunk(layout.within(self._step) if layout else self._traced_step, self._pick_given, where)

    @property
    def _made(self) -> StepParts:
        return StepParts(self.parts, self.graphs, self.plan.ema)

    def _step(self, state: TrainState, picked: tuple[Batch, Values]) -> tuple[TrainState, Logs]:
        """Do a step with the values of the run that the state and the batch are of."""
        batch, inputs = picked
        made = self.differences.traced(self._made, {**inputs, **self.differences.leaves(state.hparams)})
        return make_train_step(made, self.plan, self.precision, sharded=self.layout is not None)(state, batch)

    def feed_chunk(self, step: int, count: int) -> Any:
        """Return the feed of a chunk of the next `count` steps, [K, B] or [K, B, ...]."""
        pipeline = self.parts.pipeline
        if isinstance(self.feed, Streamed) and self.ahead:
            given = self.feed.stack(self.ahead.take(step, count), self.capacity, pipeline.batch_size)
        else:
            given = self.feed.load(pipeline.indices(step, count), self.capacity)
        return given, self._inputs

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
        parts, values = self.parts, self._evaluated

        def traced(values: Values) -> Parts:
            return self.differences.traced(self._made, values).parts

        return Evaluator(
            graphs=self.graphs,
            loss=(lambda values: traced(values).objective.loss) if values else parts.objective.loss,
            numbers=values,
            metrics=parts.metrics,
            preprocess=(lambda values: traced(values).preprocess) if values else parts.preprocess,
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
    def _evaluated(self) -> Values:
        """The values of this run that its evaluations depend on."""
        return self.differences.evaluated(self.parts, self._inputs)

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

    @cached_property
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
