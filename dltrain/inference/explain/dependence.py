"""Partial dependence: the mean prediction as a function of one column, and that of single examples (ICE)."""

from collections.abc import Callable, Iterator, Mapping
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
    found, present = [], {part: 0.0 for part in _indicators(column)}
    for one in _grids(bundle, inputs, column):
        curves: dict[str, list[np.ndarray]] = {}
        for number in one.numbers:
            changed = with_value(inputs, {**present, one.place: number}, bundle.array_spec)
            for output, predicted in outputs_of(bundle, changed).items():
                curves.setdefault(output, []).append(predicted)
            advance(1)
        stacked = {output: np.stack(curve) for output, curve in curves.items()}
        found.append(Dependence(column.name, one.part, one.shown, stacked, one.values))
    return found


def grid_size(bundle: Bundle, inputs: Any, column: Column) -> int:
    """Return how many predictions of all rows the dependence on a column takes, for progress."""
    return sum(len(one.numbers) for one in _grids(bundle, inputs, column))


@dataclass(frozen=True)
class _Grid:
    """The values of a part of a column: its place, what the model is given, [G], and what people are shown."""

    place: tuple[str, int]
    part: str
    numbers: np.ndarray
    shown: np.ndarray
    values: np.ndarray  # as in `Dependence`


def _grids(bundle: Bundle, inputs: Any, column: Column) -> Iterator[_Grid]:
    """Choose the values of each part of a column that is one number or one level; not of indicators."""
    spec = bundle.array_spec
    named = by_name(inputs, spec.inputs)
    present = np.ones(len(next(iter(named.values()))), bool)
    for name, place in _indicators(column):
        present &= named[name][..., place] == 0
    for (name, place), part, flag in zip(column.parts, column.names, column.indicators, strict=True):
        if flag or place is None or named[name].ndim != 2:
            continue
        feature, values = spec.inputs[name], named[name][:, place]
        if feature.kind is Kind.CATEGORIES:
            numbers, counts = _levels(values)
            shown = np.array([level_name(feature.levels[place], int(n)) for n in numbers])
            yield _Grid((name, place), part, numbers, shown, counts)
        else:
            grid, offset = grid_of(values[present] if present.any() else values), offset_of(bundle, name, place)
            shown, there = (found.astype(np.float64) + offset for found in (grid, values[present]))
            yield _Grid((name, place), part, grid, shown, there)


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


def _indicators(column: Column) -> list[tuple[str, int]]:
    """Return the places that say that a value of the column is missing."""
    parts = zip(column.parts, column.indicators, strict=True)
    return [(name, place) for (name, place), flag in parts if flag and place is not None]
