"""Evaluation over every row of a split exactly once, in one executable for all splits."""

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
from dltrain.devices.precision import FLOAT32, Precision
from dltrain.engine.chunk import Pick
from dltrain.engine.decode import write_about
from dltrain.engine.feed import Feed
from dltrain.engine.state import Graphs, split_module
from dltrain.engine.stateful import fresh
from dltrain.engine.step import named_values, row_weights
from dltrain.tree import Tree, like
from dltrain.types import Array, Batch


@dataclass(frozen=True)
class Evaluation:
    """What was found on a split."""

    scalars: dict[str, float]  # the loss, and each metric by name
    arrays: dict[str, np.ndarray]  # metrics that are no number (the confusion matrix)
    rows: np.ndarray  # row numbers, int [N]
    losses: np.ndarray  # loss of each of these rows, float64 [N]


class Evaluator:
    """Runs the model in eval mode over given rows.

    `metrics` have `zero, add, value`; they see outputs and targets in the units of the data, the loss sees them
    scaled. Compiled once: all splits are rows of one source, and the number of batches is a run-time argument.
    """

    def __init__(
        self,
        *,
        graphs: Graphs,
        loss: Callable[..., Any],
        metrics: Mapping[str, Any],
        preprocess: Preprocess,
        feed: Feed,
        batch_size: int,
        batches: int,
        pick: Pick | None = None,
        precision: Precision = FLOAT32,
        where: Any = None,
        order: Callable[[np.ndarray, int], np.ndarray] = in_order,
        hidden: str | None = None,
    ) -> None:
        """Prepare for up to `batches` batches a dispatch; more rows than that take several.

        `pick` takes the place of the feed's own, and `where` is the sharding of what comes back, on many devices.
        `order` puts rows, int [N], into batches, int32 [n, B], for a model that carries something to the next.
        `hidden` names the input that a model is not given when it generates: the tokens that it is to find.
        """
        self._metrics, self._feed = metrics, feed
        self._batch_size, self._batches, self._order = batch_size, max(1, batches), order
        self._program = _compile(graphs, loss, metrics, preprocess, pick or feed.pick, precision, where, hidden)
        # One program for all of them, and on the device, where later sums will be.
        zero = {name: metric.zero for name, metric in metrics.items()}
        self._zero = jax.jit(lambda: {name: make() for name, make in zero.items()}, out_shardings=where)()
        self._fresh = jax.jit(partial(fresh, rows=batch_size), out_shardings=where)

    def __call__(self, params: Tree, model_state: Tree, rows: np.ndarray) -> Evaluation:
        """Evaluate these rows, int32 [N]."""
        sums, model_state = self._zero, self._fresh(model_state)
        totals, weights = [], []
        batches = self._order(rows, self._batch_size)
        there = batches.reshape(-1) != PADDING
        for start in range(0, len(batches), self._batches):
            part = batches[start : start + self._batches]
            sums, model_state, total, weight, _ = self._run(params, model_state, part, sums)
            totals.append(total[: len(part)])  # not looked at yet: the next part is read meanwhile
            weights.append(weight[: len(part)])
        total, weight = (
            np.concatenate(jax.device_get(parts)).reshape(-1)[there].astype(np.float64)
            for parts in (totals, weights)
        )
        values = {name: metric.value(jax.device_get(sums[name])) for name, metric in self._metrics.items()}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        scalars = {"loss": float(total.sum() / weight.sum()) if weight.any() else float("nan")}
        for name, value in values.items():
            if isinstance(value, Mapping):
                scalars |= {f"{name}/{part}": float(v) for part, v in value.items()}
            elif name not in arrays:
                scalars[name] = float(value)
        return Evaluation(scalars, arrays, batches.reshape(-1)[there], total / np.maximum(weight, 1e-12))

    def outputs(self, params: Tree, model_state: Tree, rows: np.ndarray) -> Any:
        """Return the model's outputs for these rows, [N, ...] or a dict of such, in the units of the data.

        Nothing is carried from one row to another.
        """
        batches, model_state = in_order(rows, self._batch_size)[:, None], self._fresh(model_state)
        found = [self._run(params, model_state, batch, self._zero)[4] for batch in batches]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(rows)], *jax.device_get(found))

    @property
    def compilations(self) -> int:
        """How many executables were made."""
        return self._program._cache_size()

    def compile(self, params: Tree, model_state: Tree) -> jax.stages.Compiled:
        """Compile for parameters of these shapes; a later call finds it compiled."""
        given = self._feed.input_shapes(self._batches, self._batch_size)
        model_state = jax.eval_shape(self._fresh, model_state)
        return self._program.lower(params, model_state, self._feed.shapes, given, 1, self._zero).compile()

    def _run(self, params: Tree, model_state: Tree, batches: np.ndarray, sums: Any) -> Any:
        given = self._feed.load(batches, self._batches)
        return self._program(params, model_state, self._feed.data, given, len(batches), sums)


def _compile(
    graphs: Graphs,
    loss: Callable[..., Any],
    metrics: Mapping[str, Any],
    preprocess: Preprocess,
    pick: Pick,
    precision: Precision,
    where: Any,
    hidden: str | None,
) -> Any:
    writes = any(getattr(metric, "of_written", False) for metric in metrics.values())

    def one(params: Tree, model_state: Tree, raw: Batch, sums: Any) -> Any:
        batch = preprocess.scaled(raw)
        model = nnx.merge(graphs.eval, precision.cast_to_compute(params), model_state, copy=True)
        inputs = precision.cast_to_compute(batch["inputs"])
        outputs = precision.cast_to_output(model(inputs, mask=batch["mask"], rngs=None))
        model_state = like(split_module(model)[2], model_state)
        values = functools.reduce(operator.add, named_values(loss(outputs, batch)).values())
        weights = row_weights(values, batch)
        weighted = jnp.where(weights > 0, values * weights, 0)
        outputs = preprocess.outputs(outputs)
        seen = preprocess.judged(raw, batch)
        seen = {**seen, "written": write_about(model, inputs, raw, hidden=hidden)} if writes else seen
        sums = {name: metric.add(sums[name], outputs, seen) for name, metric in metrics.items()}
        flat = (len(raw["mask"]), -1)
        return sums, model_state, weighted.reshape(flat).sum(1), weights.reshape(flat).sum(1), outputs

    @partial(jax.jit, out_shardings=where)
    def run(params: Tree, model_state: Tree, data: Mapping[str, Array], given: Any, n: Array, sums: Any) -> Any:
        shapes = jax.eval_shape(lambda i: one(params, model_state, pick(data, given, i), sums), n)
        outputs = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes[4])
        rows = jnp.zeros(jax.tree.leaves(given)[0].shape[:2], jnp.float32)

        def body(i: Array, carry: Any) -> Any:
            sums, model_state, totals, weights, _ = carry
            sums, model_state, total, weight, outputs = one(params, model_state, pick(data, given, i), sums)
            return sums, model_state, totals.at[i].set(total), weights.at[i].set(weight), outputs

        return jax.lax.fori_loop(0, n, body, (sums, model_state, rows, rows, outputs))

    return run
