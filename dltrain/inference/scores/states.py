"""Metrics of a run as statistics: the state of each example alone, summed over the examples of a resample."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from dltrain.data.preprocess import Preprocess
from dltrain.inference.scores.bootstrap import MOST_COLUMNS, Statistic, Values
from dltrain.metrics import Average
from dltrain.metrics.ranking import ScoreState
from dltrain.metrics.regression import SpreadState
from dltrain.metrics.sums import Count, Squares, Sum, host, host_squares, whole
from dltrain.types import Batch

NOT_SUMS = (ScoreState, SpreadState)
"""States of metrics that are not sums over examples: all scores, and moments around a mean."""

WIDEST = 20_000  # numbers of a state; a larger one, such as a confusion matrix of 200 classes, is not resampled
CLOSE = 1e-3  # relative; in float32 the sums of the examples round differently


def resampled_metrics(metrics: Mapping[str, Any], examples: int) -> dict[str, Any]:
    """Return the metrics whose states are sums over examples, if the states of all these can be held."""
    found = {}
    for name, metric in metrics.items():
        state = jax.eval_shape(metric.zero)
        if isinstance(state, NOT_SUMS) or getattr(metric, "of_generated", False):
            continue
        width = sum(np.size(leaf) for leaf in jax.tree.leaves(state))
        if width <= WIDEST and width * examples <= MOST_COLUMNS:
            found[name] = metric
    return found


def state_function(metrics: Mapping[str, Any], preprocess: Preprocess) -> Callable[[Any, Batch], Any]:
    """Return `(outputs [B, ...] in the units of the data, raw batch) -> states by name, each with an axis [B]`."""

    @jax.jit
    def states(outputs: Any, raw: Batch) -> Any:
        batch = dict(preprocess.metric_batch(raw, preprocess.scaled(raw)))
        measured = preprocess.measured_predictions(outputs)

        def of_one(outputs: Any, batch: Any) -> Any:
            outputs, batch = jax.tree.map(lambda x: x[None], (outputs, batch))
            return {name: metric.add(metric.zero(), outputs, batch) for name, metric in metrics.items()}

        return jax.vmap(of_one)(measured, batch)

    return states


def as_columns(state: Any, examples: int) -> np.ndarray:
    """Return states with a leading axis, [N, ...] each, as float64 [N, C]."""
    leaves = jax.tree.leaves(jax.device_get(state), is_leaf=_is_sum)
    return np.concatenate([_number(leaf).reshape(examples, -1) for leaf in leaves], 1)


def metric_statistic(metric: Any, columns: np.ndarray) -> Statistic:
    """Return the value of a metric, or its values by name, as a statistic of the states of the examples."""
    if isinstance(metric, Average):
        return Statistic(columns, lambda sums: {"": sums[:, 0] / sums[:, 1]})
    leaves, tree = jax.tree.flatten(jax.eval_shape(metric.zero), is_leaf=_is_sum)

    def values(sums: np.ndarray) -> Values:
        filled = _filled(leaves, sums)
        rows = [_values(metric.value(tree.unflatten([_row(leaf, r) for leaf in filled]))) for r in range(len(sums))]
        names = rows[0] if rows else ()
        return {name: np.array([row[name] for row in rows], np.float64) for name in names}

    return Statistic(columns, values)


def agrees(statistic: Statistic, known: Mapping[str, float]) -> bool:
    """Tell whether the statistic of all examples is what the metric returned; a user's own may not be a sum."""
    with np.errstate(all="ignore"):
        found = statistic.values(statistic.columns.sum(0)[None])
    return found.keys() == known.keys() and all(
        np.isclose(found[name][0], value, rtol=CLOSE, atol=1e-6, equal_nan=True) for name, value in known.items()
    )


def _values(value: Any) -> dict[str, float]:
    if isinstance(value, Mapping):
        return {str(name): float(v) for name, v in value.items()}
    return {"": float(value)} if np.ndim(value) == 0 else {}


def _is_sum(leaf: Any) -> bool:
    return isinstance(leaf, Sum | Count | Squares)


def _number(leaf: Any) -> np.ndarray:
    """Return a sum, a count or an array in float64."""
    convert = {Sum: host, Count: whole, Squares: host_squares}
    return np.asarray(convert.get(type(leaf), np.asarray)(leaf), np.float64)


def _filled(leaves: list[Any], sums: np.ndarray) -> list[Any]:
    """Return the leaves of states with these sums [R, C], with a leading axis [R]."""
    found, start = [], 0
    for leaf in leaves:
        shape = jax.tree.leaves(leaf)[0].shape
        size = int(np.prod(shape, dtype=int))
        found.append(_like(leaf, sums[:, start : start + size].reshape(len(sums), *shape)))
        start += size
    return found


def _like(leaf: Any, number: Any) -> Any:
    zero: Any = np.zeros_like(number)
    one: Any = zero + 1
    match leaf:
        case Sum():
            return Sum(number, zero)
        case Squares():
            return Squares(one, Sum(number, zero))
        case Count():
            count = np.nan_to_num(number).astype(np.int64)
            return Count((count & 0xFFFFFFFF).astype(np.uint32), (count >> 32).astype(np.uint32))
    return number > 0 if leaf.dtype == bool else number


def _row(leaf: Any, row: int) -> Any:
    """Return the leaf of one state."""
    return type(leaf)(*(_row(part, row) for part in leaf)) if isinstance(leaf, tuple) else leaf[row]
