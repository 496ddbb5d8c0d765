"""Baselines evaluated on the same examples: a model must be better than these to be of use."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from dltrain.build.parts import Parts
from dltrain.report.linear_baseline import LinearModel, most_examples, vectors
from dltrain.tasks import Level
from dltrain.types import Kind

BLOCK = 8192  # examples at a time
LARGEST = 65_536  # training examples that are read again, of streamed data
Add = Callable[[Any, Any, Any], Any]
Scores = dict[str, dict[str, float]]
"""Name of a rule -> metric -> value."""


def baselines(parts: Parts, split: str) -> Scores:
    """Evaluate the rules that suit the data on a split, with the metrics of the run.

    These are constants (the most frequent class, the mean), what the source offers (the last value of a series),
    and a linear model of the inputs, if that takes less than a second. All of them know the training split only.
    """
    spec, examples = parts.spec, parts.splits[split]
    if not spec.task.supervised or spec.task.generates or not parts.metrics or not len(examples):
        return {}

    @jax.jit  # one program for all rules
    def add(sums: Any, outputs: Any, batch: Any) -> Any:
        return {name: metric.add(sums[name], outputs, batch) for name, metric in parts.metrics.items()}

    found: Scores = {}
    for name, outputs in _rules(parts, examples):
        found[name] = _evaluate(parts, add, examples, outputs)
    return found


def _rules(parts: Parts, examples: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each rule by name, with its outputs in the units of the data, [N, ...] or [1, ...] for a constant."""
    task = parts.spec.task
    if forecast := getattr(parts.source, "baselines", None):
        for name, outputs in forecast(examples).items():
            many = max(1, len(task.quantiles))
            yield name, np.repeat(outputs[..., None], many, -1) if task.quantiles else outputs
        return
    train = parts.splits.train
    if len(train) > LARGEST and parts.arrays is None:
        train = _some(train, LARGEST)
    targets = _read(parts, train, "targets")
    if isinstance(targets, Mapping):
        return
    constants = task.constants(targets, parts.spec)
    for name, outputs in constants.items():
        yield name, outputs[None]
    if constants and task.level is Level.EXAMPLE and not task.quantiles:
        width = next(iter(constants.values())).size
        yield from _linear(parts, train, examples, targets, width)


def _linear(
    parts: Parts, train: np.ndarray, examples: np.ndarray, targets: np.ndarray, width: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a linear model that is fitted on the training examples, or on a part of them if they are many."""
    spec = parts.spec
    first = vectors(_read(parts, train[:1], "inputs"), parts.source.spec)
    if first is None or not (most := most_examples(first.shape[1], width)):
        return
    some = np.arange(len(train))
    if len(train) > most:
        some = _some(some, most)
    x, y = (vectors(_read(parts, some_of, "inputs"), parts.source.spec) for some_of in (train[some], examples))
    kind = spec.target.kind
    if x is None or y is None:
        return
    model = LinearModel(x, targets[some], kind, len(spec.classes))
    outputs = model.outputs(y)
    if kind is Kind.CATEGORY:
        logs = outputs - np.logaddexp.reduce(outputs, 1, keepdims=True)
        outputs = getattr(spec.task, "logits", lambda logs: logs)(logs)
    part = "" if len(some) == len(parts.splits.train) else f" of {len(some):,} examples"
    yield f"{'ridge' if kind is Kind.NUMBERS else 'logistic'} regression{part}", outputs


def _some(examples: np.ndarray, most: int) -> np.ndarray:
    return np.sort(np.random.default_rng(0).permutation(examples)[:most])


def _read(parts: Parts, examples: np.ndarray, name: str) -> Any:
    """Return inputs or targets of these examples, [N, ...], or a dict of such."""
    if parts.arrays is not None:
        return jax.tree.map(lambda values: values[examples], parts.arrays[name])
    found = [parts.source.read(examples[i : i + BLOCK])[name] for i in range(0, len(examples), BLOCK)]
    return jax.tree.map(lambda *some: np.concatenate(some), *found)


def _evaluate(parts: Parts, add: Add, examples: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """Return the scalar metrics of outputs, [N, ...] or [1, ...]; the last block is padded, as in every batch."""
    size, metrics = min(BLOCK, len(examples)), parts.metrics
    sums = {name: metric.zero() for name, metric in metrics.items()}

    for start in range(0, len(examples), size):
        at = np.minimum(np.arange(start, start + size), len(examples) - 1)
        raw = parts.source.read(examples[at]) if parts.arrays is None else _rows(parts.arrays, examples[at])
        batch = {name: value for name, value in raw.items() if name != "inputs"}
        batch["targets"] = parts.preprocess.measured_targets(batch["targets"])
        batch["mask"] = np.arange(start, start + size) < len(examples)
        some = outputs[at] if len(outputs) > 1 or len(examples) == 1 else np.repeat(outputs, size, 0)
        sums = add(sums, parts.preprocess.measured_predictions(np.asarray(some, np.float32)), batch)
    sums = jax.device_get(sums)
    values = {name: metric.value(sums[name]) for name, metric in metrics.items()}
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float | np.number)}


def _rows(arrays: Mapping[str, Any], at: np.ndarray) -> dict[str, Any]:
    return {name: jax.tree.map(lambda v: v[at], value) for name, value in arrays.items() if name != "inputs"}
