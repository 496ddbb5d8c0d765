"""Evaluation of every example of a split exactly once, with one executable for all splits."""

import copy
import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dltrain.data.order import PADDING, in_order
from dltrain.data.preprocess import Preprocess
from dltrain.devices.mesh import on_host
from dltrain.devices.precision import FLOAT32, Precision
from dltrain.engine.chunk import Pick, traced_once
from dltrain.engine.decode import generate_from
from dltrain.engine.feed import Feed
from dltrain.engine.named import computing
from dltrain.engine.padding import fill_padding
from dltrain.engine.state import Graphs, split_module
from dltrain.engine.stateful import fresh
from dltrain.engine.step import named_values, value_weights
from dltrain.tree import Tree, like
from dltrain.types import Array, Batch


@dataclass(frozen=True)
class Evaluation:
    """The results on a split."""

    scalars: dict[str, float]  # the loss, and each metric by name
    arrays: dict[str, np.ndarray]  # metrics that are arrays (the confusion matrix)
    examples: np.ndarray  # indices of the examples in the source, int [N]
    losses: np.ndarray  # loss per example, float64 [N]
    weights: np.ndarray | None = None  # how much each counts in the loss of the split, float64 [N]


Apply = Callable[[Any, Any, Array], Any]
"""`(model in eval mode, inputs [B, ...], mask [B]) -> outputs [B, ...]`, scaled as the loss takes them."""


def apply_model(model: Any, inputs: Any, mask: Array) -> Any:
    """Return the outputs of the model itself."""
    return model(inputs, mask=mask, rngs=None)


class Evaluator:
    """Runs the model in eval mode over given examples.

    `metrics` have `zero, add, value`; they get outputs and targets in the units of the data, the loss gets them
    scaled. Compiled once: all splits are examples of one source, and the number of batches is a run-time argument.
    """

    def __init__(
        self,
        *,
        graphs: Graphs,
        loss: Callable[..., Any],
        metrics: Mapping[str, Any],
        preprocess: Preprocess | Callable[..., Preprocess],
        feed: Feed,
        batch_size: int,
        batches: int,
        pick: Pick | None = None,
        precision: Precision = FLOAT32,
        where: Any = None,
        order: Callable[[np.ndarray, int], np.ndarray] = in_order,
        hidden: str | None = None,
        apply: Apply = apply_model,
        numbers: Mapping[str, Any] | None = None,
    ) -> None:
        """Prepare for up to `batches` batches per dispatch; more examples take several.

        `pick` replaces that of the feed, and `where` is the sharding of the results, on several devices.
        `order` arranges examples, int [N], in batches, int32 [n, B], for a model with recurrent state.
        `hidden` names the input that the model does not get when it generates: the tokens to generate.
        `apply` takes the outputs from the model, such as their mean over changed inputs.
        With `numbers`, which are arguments of the program, `loss` and `preprocess` are functions that make them of
        these; see `with_numbers`.
        """
        self._numbers = dict(numbers or {})
        self._metrics, self._feed = metrics, feed
        self._batch_size, self._batches, self._order = batch_size, max(1, batches), order
        of: Any = (lambda made: made) if numbers else _always
        about = pick or feed.pick, precision, where, hidden, apply
        self._program = _compile(graphs, of(loss), metrics, of(preprocess), *about)
        # One program for all of them, on the device of the later sums.
        zero = {name: metric.zero for name, metric in metrics.items()}
        self._zero = jax.jit(lambda: {name: make() for name, make in zero.items()}, out_shardings=where)()
        self._fresh = jax.jit(partial(fresh, batch_size=batch_size), out_shardings=where)

    def over(
        self, feed: Feed, *, batches: int, order: Callable[[np.ndarray, int], np.ndarray] = in_order
    ) -> "Evaluator":
        """Return an evaluator of another feed of the same kind; both share their compiled programs."""
        other = copy.copy(self)
        other._feed, other._batches, other._order = feed, max(1, batches), order
        return other

    def with_numbers(self, numbers: Mapping[str, Any]) -> "Evaluator":
        """Return an evaluator with other numbers; both share their compiled programs."""
        other = copy.copy(self)
        other._numbers = dict(numbers)
        return other

    def __call__(self, params: Tree, model_state: Tree, examples: np.ndarray) -> Evaluation:
        """Evaluate these examples of the source, int32 [N]."""
        sums, model_state = self._zero, self._begin(model_state)
        totals, weights = [], []
        batches = self._order(examples, self._batch_size)
        valid = batches.reshape(-1) != PADDING
        for start in range(0, len(batches), self._batches):
            part = batches[start : start + self._batches]
            sums, model_state, total, weight, _ = self._run(params, model_state, part, sums)
            totals.append(total)  # not read yet: the next part is loaded meanwhile
            weights.append(weight)
        sums, totals, weights = on_host((sums, totals, weights))
        total, weight = (
            np.concatenate(parts)[: len(batches)].reshape(-1)[valid].astype(np.float64)
            for parts in (totals, weights)
        )
        values = {name: metric.value(sums[name]) for name, metric in self._metrics.items()}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        scalars = {"loss": float(total.sum() / weight.sum()) if weight.any() else float("nan")}
        for name, value in values.items():
            if isinstance(value, Mapping):
                scalars |= {f"{name}/{part}": float(v) for part, v in value.items()}
            elif name not in arrays:
                scalars[name] = float(value)
        losses = total / np.maximum(weight, 1e-12)
        return Evaluation(scalars, arrays, batches.reshape(-1)[valid], losses, weight)

    def outputs(self, params: Tree, model_state: Tree, examples: np.ndarray) -> Any:
        """Return the outputs for these examples, [N, ...] or a dict of such, in the units of the data.

        Recurrent state is not kept between examples.
        """
        batches, model_state = in_order(examples, self._batch_size)[:, None], self._begin(model_state)
        found = [self._run(params, model_state, batch, self._zero)[4] for batch in batches]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(examples)], *on_host(found))

    @property
    def compilations(self) -> int:
        """Number of compiled executables."""
        return self._program._cache_size()

    def trace(self, params: Tree, model_state: Tree) -> jax.stages.Traced:
        """Trace for parameters of these shapes; raises ConfigError for a metric that does not fit."""
        given = self._feed.input_shapes(self._batches, self._batch_size)
        model_state = jax.eval_shape(self._fresh, model_state)
        return self._program.trace(params, model_state, self._feed.shapes, given, 1, self._zero, self._numbers)

    def compile(self, params: Tree, model_state: Tree) -> jax.stages.Compiled:
        """Compile for parameters of these shapes; later calls use this executable."""
        return self.trace(params, model_state).lower().compile()

    def _begin(self, model_state: Tree) -> Tree:
        """Return the model state before the first example; most models have none."""
        return self._fresh(model_state) if jax.tree.leaves(model_state) else model_state

    def _run(self, params: Tree, model_state: Tree, batches: np.ndarray, sums: Any) -> Any:
        given = self._feed.load(batches, self._batches)
        return self._program(params, model_state, self._feed.data, given, len(batches), sums, self._numbers)


def _always(made: Any) -> Callable[[Any], Any]:
    return lambda numbers: made


def _compile(
    graphs: Graphs,
    loss_of: Callable[[Mapping[str, Any]], Callable[..., Any]],
    metrics: Mapping[str, Any],
    preprocess_of: Callable[[Mapping[str, Any]], Preprocess],
    pick: Pick,
    precision: Precision,
    where: Any,
    hidden: str | None,
    apply: Apply,
) -> Any:
    generates = any(getattr(metric, "of_generated", False) for metric in metrics.values())

    def one(numbers: Any, params: Tree, model_state: Tree, raw: Batch, sums: Any) -> Any:
        loss, preprocess = loss_of(numbers), preprocess_of(numbers)
        raw = fill_padding(raw, sharded=where is not None)
        batch = preprocess.scaled(raw)
        model = nnx.merge(graphs.eval, precision.cast_to_compute(params), model_state, copy=True)
        inputs = precision.cast_to_compute(batch["inputs"])
        outputs = precision.cast_to_output(apply(model, inputs, batch["mask"]))
        model_state = like(split_module(model)[2], model_state)
        values = functools.reduce(operator.add, named_values(loss(outputs, batch)).values())
        weights = value_weights(values, batch)
        weighted = jnp.where(weights > 0, values * weights, 0)
        measured, outputs = preprocess.metric_outputs(outputs), preprocess.outputs(outputs)
        seen = dict(preprocess.metric_batch(raw, batch))
        if generates:
            length = raw["targets"].shape[1]
            seen["generated"] = generate_from(model, inputs, raw["mask"], length=length, hidden=hidden)
        sums = dict(sums)
        for name, metric in metrics.items():
            with computing(f"metrics.{name}"):
                sums[name] = metric.add(sums[name], measured, seen)
        flat = (len(raw["mask"]), -1)
        return sums, model_state, weighted.reshape(flat).sum(1), weights.reshape(flat).sum(1), outputs

    @partial(jax.jit, out_shardings=where)
    def run(
        params: Tree,
        model_state: Tree,
        data: Mapping[str, Array],
        given: Any,
        n: Array,
        sums: Any,
        numbers: Mapping[str, Any],
    ) -> Any:
        @traced_once
        def batch(i: Array, sums: Any, model_state: Tree) -> Any:
            return one(numbers, params, model_state, pick(data, given, i), sums)

        shapes = jax.eval_shape(batch, n, sums, model_state)[4]
        outputs = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        zeros = jnp.zeros(jax.tree.leaves(given)[0].shape[:2], jnp.float32)

        def body(i: Array, carry: Any) -> Any:
            sums, model_state, totals, weights, _ = carry
            sums, model_state, total, weight, outputs = batch(i, sums, model_state)
            return sums, model_state, totals.at[i].set(total), weights.at[i].set(weight), outputs

        return jax.lax.fori_loop(0, n, body, (sums, model_state, zeros, zeros, outputs))

    return run
