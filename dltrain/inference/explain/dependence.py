"""Partial dependence: the mean prediction as a function of one column, and that of single examples (ICE)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.inference.bundle import Bundle
from dltrain.inference.explain.columns import Column, level_name, offset_of, with_value
from dltrain.types import Kind, by_name

POINTS = 20  # of the grid of a number
LEVELS = 15  # of a category, the most frequent ones
EDGES = (0.05, 0.95)  # quantiles between which the grid is: beyond them there are few examples


@dataclass(frozen=True)
class Dependence:
    """The prediction with one column set to each value of a grid, in all rows.

    Friedman 2001; the curves of single rows are individual conditional expectations (Goldstein et al. 2015).

    Attributes:
        column: the column.
        part: the number, the part of a date, or the category that is set.
        grid: values in the units of the data, float [G], or the names of levels.
        curves: output -> its predictions, float [G, N].
        values: of the column in the data, float [N]; of a category the number of rows of each level, [G].
    """

    column: str
    part: str
    grid: np.ndarray
    curves: Mapping[str, np.ndarray]
    values: np.ndarray

    @property
    def categorical(self) -> bool:
        """Whether the grid has levels instead of numbers."""
        return self.grid.dtype.kind not in "fiu"

    def mean(self, output: str) -> np.ndarray:
        """Return the partial dependence, [G]."""
        return self.curves[output].mean(1)


def grid_of(values: np.ndarray, *, points: int = POINTS) -> np.ndarray:
    """Return where to evaluate a column of numbers: its different values if they are few, else its quantiles.

    If most rows have the same value, as with many zeros, they are the quantiles of the different values.
    """
    finite = values[np.isfinite(values)]
    different = np.unique(finite)
    if len(different) <= points:
        return different
    grid = np.unique(np.quantile(finite, np.linspace(*EDGES, points)))
    return grid if len(grid) > points // 2 else np.unique(np.quantile(different, np.linspace(0, 1, points)))


def partial_dependence(
    bundle: Bundle,
    inputs: Any,
    column: Column,
    *,
    advance: Callable[[int], None] = lambda count: None,
) -> list[Dependence]:
    """Return the dependence on a column: one curve, for a date one for each of its parts; none for texts, images.

    Setting a number also says that it is not missing.

    Args:
        bundle: the model.
        inputs: arrays [N, ...] of the examples, or a dict of them by name.
        column: the column.
        advance: is told of each value of a grid.
    """
    spec, found = bundle.array_spec, []
    named = by_name(inputs, spec.inputs)
    flags = {(name, at): 0.0 for (name, at), flag in _flagged(column) if flag and at is not None}
    present = np.ones(len(next(iter(named.values()))), bool)
    for name, place in flags:
        present &= named[name][..., place] == 0
    for (name, place), part, flag in zip(column.parts, column.names, column.indicators, strict=True):
        feature = spec.inputs[name]
        if flag or place is None or named[name].ndim != 2:
            continue
        values = named[name][:, place]
        if feature.kind is Kind.CATEGORIES:
            numbers, counts = _levels(values)
            shown, about = np.array([level_name(feature.levels[place], int(n)) for n in numbers]), counts
            grid = numbers
        else:
            grid = grid_of(values[present] if present.any() else values)
            offset = offset_of(bundle, name, place)
            shown, about = grid.astype(np.float64) + offset, values[present].astype(np.float64) + offset
        curves: dict[str, list[np.ndarray]] = {}
        for value in grid:
            predicted = outputs_of(bundle, with_value(inputs, {**flags, (name, place): value}, spec))
            for output, numbers in predicted.items():
                curves.setdefault(output, []).append(numbers)
            advance(1)
        found.append(Dependence(column.name, part, shown, {n: np.stack(c) for n, c in curves.items()}, about))
    return found


def grid_size(bundle: Bundle, inputs: Any, column: Column) -> int:
    """Return about how many predictions of all rows the dependence on a column takes, for progress."""
    sizes = []
    for (name, place), flag in _flagged(column):
        if not flag and place is not None:
            values = by_name(inputs, bundle.array_spec.inputs)[name][..., place]
            most = LEVELS if bundle.array_spec.inputs[name].kind is Kind.CATEGORIES else POINTS
            sizes.append(min(most, len(np.unique(values))))
    return sum(sizes)


def outputs_of(bundle: Bundle, inputs: Any) -> dict[str, np.ndarray]:
    """Return the predictions that are numbers, [N] each: probabilities or values; of two classes the second.

    Of several quantiles, the middle one is the value.
    """
    columns = bundle.predict(inputs).columns
    quantiles = [f"_q{q:g}" for q in bundle.raw_spec.task.quantiles]
    found = {
        name: np.asarray(values, np.float64)
        for name, values in columns.items()
        if np.asarray(values).dtype.kind in "fiu"
        and np.ndim(values) == 1
        and not name.endswith(tuple(quantiles or "\n"))
    }
    if len(bundle.raw_spec.classes) == 2 and len(found) == 2:  # the other one is 1 minus this
        return dict(list(found.items())[1:])
    return found


def _levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the most frequent levels, sorted by frequency, and their counts."""
    numbers, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:LEVELS]
    return numbers[order], counts[order]


def _flagged(column: Column) -> list[tuple[tuple[str, int | None], bool]]:
    return list(zip(column.parts, column.indicators, strict=True))
