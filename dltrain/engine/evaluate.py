"""Evaluation over every row of a split exactly once, in one executable for all splits."""

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dltrain.data.pipeline import PADDING, in_order
from dltrain.data.preprocess import Preprocess
from dltrain.engine.feed import gather
from dltrain.engine.state import Graphs, Tree
from dltrain.engine.step import named_values, row_weights
from dltrain.types import Array


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
    scaled. Compiled once: all splits are rows of one array, and the number of batches is a run-time argument.
    """

    def __init__(
        self,
        *,
        graphs: Graphs,
        loss: Callable[..., Any],
        metrics: Mapping[str, Any],
        preprocess: Preprocess,
        data: Mapping[str, Array],
        batch_size: int,
        batches: int,
    ) -> None:
        """Prepare for up to `batches` batches a dispatch; more rows than that take several."""
        self._metrics, self._data = metrics, data
        self._batch_size, self._batches = batch_size, max(1, batches)
        self._run = _compile(graphs, loss, metrics, preprocess)
        shapes = jax.eval_shape(lambda: {name: metric.zero() for name, metric in metrics.items()})
        # Made on the host, not by a small program each, and put on the device, where later sums will be.
        self._zero = jax.device_put(jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes))

    def __call__(self, params: Tree, rest: Tree, rows: np.ndarray) -> Evaluation:
        """Evaluate these rows, int32 [N]."""
        sums = self._zero
        totals, weights = [], []
        batches = in_order(rows, self._batch_size)
        for start in range(0, len(batches), self._batches):
            part = batches[start : start + self._batches]
            sums, total, weight, _ = self._run(params, rest, self._data, self._padded(part), len(part), sums)
            totals.append(np.asarray(total)[: len(part)])
            weights.append(np.asarray(weight)[: len(part)])
        total = np.concatenate(totals).reshape(-1)[: len(rows)].astype(np.float64)
        weight = np.concatenate(weights).reshape(-1)[: len(rows)].astype(np.float64)
        values = {name: metric.value(jax.device_get(sums[name])) for name, metric in self._metrics.items()}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        scalars = {"loss": float(total.sum() / max(weight.sum(), 1e-12))}
        for name, value in values.items():
            if isinstance(value, Mapping):
                scalars |= {f"{name}/{part}": float(v) for part, v in value.items()}
            elif name not in arrays:
                scalars[name] = float(value)
        return Evaluation(scalars, arrays, rows, total / np.maximum(weight, 1e-12))

    def outputs(self, params: Tree, rest: Tree, rows: np.ndarray) -> np.ndarray:
        """Return the model's outputs for these rows, [N, ...], in the units of the data."""
        batches = in_order(rows, self._batch_size)[:, None]
        found = [self._run(params, rest, self._data, self._padded(batch), 1, self._zero)[3] for batch in batches]
        return np.concatenate([np.asarray(part) for part in found])[: len(rows)]

    @property
    def compilations(self) -> int:
        """How many executables were made."""
        return self._run._cache_size()

    def _padded(self, batches: np.ndarray) -> np.ndarray:
        short = self._batches - len(batches)
        return np.pad(batches, ((0, short), (0, 0)), constant_values=PADDING)


def _compile(graphs: Graphs, loss: Callable[..., Any], metrics: Mapping[str, Any], preprocess: Preprocess) -> Any:
    def one(params: Tree, rest: Tree, data: Mapping[str, Array], rows: Array, sums: Any) -> Any:
        raw = gather(data, rows)
        batch = preprocess.scaled(raw)
        model = nnx.merge(graphs.eval, params, rest, copy=True)
        outputs = model(batch["inputs"], mask=batch["mask"], rngs=None)
        values = functools.reduce(operator.add, named_values(loss(outputs, batch)).values())
        weights = row_weights(values, batch)
        weighted = jnp.where(weights > 0, values * weights, 0)
        outputs = preprocess.outputs(outputs)
        sums = {name: metric.add(sums[name], outputs, raw) for name, metric in metrics.items()}
        flat = (len(rows), -1)
        return sums, weighted.reshape(flat).sum(1), weights.reshape(flat).sum(1), outputs

    @jax.jit
    def run(params: Tree, rest: Tree, data: Mapping[str, Array], feed: Array, n: Array, sums: Any) -> Any:
        shapes = jax.eval_shape(one, params, rest, data, feed[0], sums)
        outputs = jnp.zeros(shapes[3].shape, shapes[3].dtype)
        rows = jnp.zeros(feed.shape, jnp.float32)

        def body(i: Array, carry: Any) -> Any:
            sums, totals, weights, _ = carry
            sums, total, weight, outputs = one(params, rest, data, feed[i], sums)
            return sums, totals.at[i].set(total), weights.at[i].set(weight), outputs

        return jax.lax.fori_loop(0, n, body, (sums, rows, rows, outputs))

    return run
