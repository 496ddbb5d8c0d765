"""Occlusion of series: how much a forecast changes when a stretch of a column's past is replaced by its mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.inference.bundle import Bundle
from dltrain.inference.explain.select import target_names
from dltrain.types import Kind, Spec, by_name

STRETCHES = 12  # into which the steps of an input are divided


@dataclass(frozen=True)
class Occlusion:
    """The mean absolute change of the prediction (Zeiler and Fergus 2014, arXiv:1311.2901, for images).

    Attributes:
        feature: the input.
        columns: its columns.
        stretches: first step and the step behind the last one of each stretch; of a forecast, step 0 is the first
            that is predicted, and the past has negative ones.
        outputs: what is predicted: targets, or the probability of the predicted class.
        effect: float [columns, stretches, horizon, outputs], in the units of the data.
        windows: number of examples.
    """

    feature: str
    columns: tuple[str, ...]
    stretches: tuple[tuple[int, int], ...]
    outputs: tuple[str, ...]
    effect: np.ndarray
    windows: int


def sequences_of(spec: Spec) -> list[str]:
    """Return the inputs that are sequences of numbers."""
    return [name for name, feature in spec.inputs.items() if feature.kind is Kind.SEQUENCE]


def cuts(length: int, count: int = STRETCHES) -> list[tuple[int, int]]:
    """Divide steps into at most `count` stretches of equal length: first step, and the one behind the last."""
    edges = np.linspace(0, length, min(count, length) + 1).round().astype(int)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def occluded(values: np.ndarray, column: int, stretch: tuple[int, int], lengths: np.ndarray | None) -> np.ndarray:
    """Replace a stretch of a column, [N, L, C], by the column's mean over the valid steps of its example."""
    count = np.full(len(values), values.shape[1]) if lengths is None else np.maximum(lengths, 1)
    valid = np.arange(values.shape[1])[None] < count[:, None]
    mean = np.where(valid, values[..., column], 0).sum(1, dtype=np.float64) / count
    changed = values.copy()
    changed[:, slice(*stretch), column] = mean.astype(values.dtype)[:, None]
    return changed


def occlusion(
    bundle: Bundle, inputs: Any, feature: str, *, advance: Callable[[int], None] = lambda count: None
) -> Occlusion:
    """Occlude each stretch of each column of an input, and predict again.

    Args:
        bundle: the model.
        inputs: arrays [N, ...] of the examples, or a dict of them by name.
        feature: the input to occlude.
        advance: is told of each prediction.
    """
    spec = bundle.array_spec
    named = dict(by_name(inputs, spec.inputs))
    values, length = named[feature], spec.find(Kind.LENGTH)
    lengths = named[length] if length else None
    plain, names, picked = _predicted(bundle, inputs)
    columns = spec.inputs[feature].names or tuple(f"column {i}" for i in range(values.shape[2]))
    parts = cuts(values.shape[1])
    effect = np.zeros((len(columns), len(parts), *plain.shape[1:]))
    for i in range(len(columns)):
        for k, stretch in enumerate(parts):
            changed = {**named, feature: occluded(values, i, stretch, lengths)}
            given = changed if isinstance(inputs, Mapping) else changed[feature]
            found, _, _ = _predicted(bundle, given, picked)
            effect[i, k] = np.abs(found - plain).mean(0)
            advance(1)
    zero = _origin(spec, feature)
    steps = tuple((a - zero, b - zero) for a, b in parts)
    return Occlusion(feature, tuple(columns), steps, names, effect, len(values))


def _origin(spec: Spec, feature: str) -> int:
    """Return the first step of an input that is predicted; 0 if none of its steps is."""
    (target,) = spec.targets.values()
    if target.kind is not Kind.NUMBERS or len(target.shape) != 2:
        return 0
    past = spec.inputs[spec.shown_name].shape[0]
    return min(past, spec.inputs[feature].shape[0])


def _predicted(
    bundle: Bundle, inputs: Any, picked: np.ndarray | None = None
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray | None]:
    """Return predictions, float64 [N, H, outputs], their names, and which classes are looked at, int [N]."""
    decided, spec = bundle.decisions(inputs), bundle.raw_spec
    if spec.classes:
        probabilities = np.asarray(spec.task.probabilities(decided), np.float64)
        picked = probabilities.argmax(-1) if picked is None else picked
        found = np.take_along_axis(probabilities, picked[:, None], 1)
        return found[:, None], ("probability of the predicted class",), picked
    if spec.labels:
        return np.asarray(decided["probabilities"], np.float64)[:, None], spec.labels, None
    names = target_names(spec)
    values = np.asarray(decided[spec.task.decision], np.float64)
    return values.reshape(len(values), -1, len(names)), names, None
