"""The numbers of the members of a population over time, with a line for each copy."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dltrain.plots.decades import spans_decades
from dltrain.plots.labels import labels
from dltrain.plots.parallel import BEST

Points = Sequence[tuple[int, float]]
"""(step, value that holds from this step on)."""


def population(
    numbers: Mapping[str, Mapping[str, Points]], copies: Sequence[tuple[int, str, str]], *, best: str, steps: int
) -> Figure:
    """Draw one panel for each number: its value in each member, and a dashed line from a source to its copy.

    Args:
        numbers: key -> member -> its values.
        copies: (step, member, whom it copied).
        best: the member that is highlighted.
        steps: where training ended.
    """
    figure = Figure(figsize=(7.2, 2.9 * len(numbers) + 0.5), layout="constrained")
    panels = figure.subplots(len(numbers), 1, squeeze=False, sharex=True).ravel()
    for axes, (key, members) in zip(panels, numbers.items(), strict=True):
        _panel(axes, members, copies, best=best, steps=steps)
        axes.set_ylabel(labels([key], length=32)[0], fontsize=9)
    panels[0].set_title(f"{len(next(iter(numbers.values())))} members, {len(copies)} copies", fontsize=9)
    panels[-1].set_xlabel("step", fontsize=9)
    return figure


def _panel(
    axes: Axes,
    members: Mapping[str, Points],
    copies: Sequence[tuple[int, str, str]],
    *,
    best: str,
    steps: int,
) -> None:
    for member, points in members.items():
        ends = [*points, (steps, points[-1][1])]
        colour, width = (BEST, 2.2) if member == best else ("tab:blue", 1.2)
        axes.plot(*zip(*_stairs(ends), strict=True), color=colour, lw=width, alpha=1 if member == best else 0.6)
        axes.annotate(member, ends[-1], (4, -3), textcoords="offset points", fontsize=8, color=colour)
    for step, member, source in copies:
        there = [_value(members[of], step) for of in (source, member)]
        axes.plot([step, step], there, ls=":", lw=1, color="0.3", zorder=1)
        axes.plot(step, there[1], marker="o", ms=4, color="0.3", zorder=5)
    values = np.array([value for points in members.values() for _, value in points])
    if values.min() > 0 and spans_decades(values):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)


def _stairs(points: Points) -> list[tuple[float, float]]:
    """Return the corners of a line that is level between changes and vertical at none: a copy begins elsewhere."""
    found: list[tuple[float, float]] = []
    for (step, value), (end, _) in itertools.pairwise(points):
        if found and found[-1][1] != value:
            found.append((step, float("nan")))
        found += [(step, value), (end, value)]
    return found


def _value(points: Points, step: int) -> float:
    """Return the value that holds from a step on."""
    return [value for at, value in points if at <= step][-1]
