"""The result of the jobs of a sweep over two of its keys: the cells of a grid, or contours between points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.figure import Figure

from dltrain.plots.labels import labels
from dltrain.plots.parallel import BEST
from dltrain.plots.scales import Scale, make_scale
from dltrain.plots.svg import shown

MOST = 12  # different values of a key that are cells
FILLED = 0.6  # share of the cells of a grid that have a result
LEVELS = 12
FEWEST = 6  # points of a contour


def contour(
    x: tuple[str, Sequence[Any]],
    y: tuple[str, Sequence[Any]],
    metric: str,
    scores: Sequence[float],
    *,
    best: int,
    higher: bool,
) -> Figure:
    """Draw the result over two numeric keys; darker is better.

    Where most pairs of their values have a job, each pair is a cell with the mean of its jobs. Elsewhere contours
    are interpolated between the jobs.

    Args:
        x: a key and its value in each of N jobs.
        y: the other key.
        metric: name of the result.
        scores: the results, finite [N].
        best: index of the job that is marked.
        higher: whether a higher result is better.
    """
    across, up = make_scale(x[0], list(x[1])), make_scale(y[0], list(y[1]))
    values = np.asarray(scores, np.float64)
    figure = Figure(figsize=(6.4, 4.8))
    axes = figure.add_axes((0.16, 0.14, 0.66, 0.76))
    colours = "viridis_r" if higher else "viridis"
    drawn = _cells(axes, x[1], y[1], values, best, colours) or _contours(axes, across, up, values, best, colours)
    bar = figure.colorbar(drawn, cax=figure.add_axes((0.85, 0.14, 0.03, 0.76)))
    bar.ax.tick_params(labelsize=8)
    axes.set_title(f"{labels([metric], length=40)[0]}: darker is better, the star is the best job", fontsize=9)
    axes.set_xlabel(_named(across), fontsize=9)
    axes.set_ylabel(_named(up), fontsize=9)
    axes.tick_params(labelsize=8)
    return figure


def _cells(
    axes: Axes, x: Sequence[Any], y: Sequence[Any], values: np.ndarray, best: int, colours: str
) -> QuadMesh | None:
    """Draw a cell for each pair of values; None if too few pairs have a job."""
    columns, column = np.unique(np.asarray(x, np.float64), return_inverse=True)
    rows, row = np.unique(np.asarray(y, np.float64), return_inverse=True)
    if max(len(columns), len(rows)) > MOST:
        return None
    sums, counts = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)))
    np.add.at(sums, (row, column), values)
    np.add.at(counts, (row, column), 1)
    if (counts > 0).mean() < FILLED:
        return None
    with np.errstate(invalid="ignore"):
        means = sums / counts
    drawn = axes.pcolormesh(np.ma.masked_invalid(means), cmap=colours, edgecolors="white", lw=1)
    middle = 0.5 * (np.nanmin(means) + np.nanmax(means))
    dark_high = colours.endswith("_r")
    for i, j in zip(*np.nonzero(counts), strict=True):
        dark = (means[i, j] > middle) == dark_high
        text = f"{means[i, j]:.3g}"
        axes.text(j + 0.5, i + 0.4, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.plot([column[best] + 0.5], [row[best] + 0.72], marker="*", ms=13, color=BEST, mec="white", zorder=4)
    for tried, count, set_ticks in ((x, len(columns), axes.set_xticks), (y, len(rows), axes.set_yticks)):
        set_ticks(np.arange(count) + 0.5, [shown(float(value)) for value in sorted(set(tried))])
    return drawn


def _contours(axes: Axes, across: Scale, up: Scale, values: np.ndarray, best: int, colours: str) -> PathCollection:
    """Draw filled contours between the jobs, and the jobs; points alone if they lie on one line."""
    style: dict[str, Any] = {"cmap": colours, "vmin": values.min(), "vmax": values.max()}
    if len(values) >= FEWEST and values.max() > values.min():
        try:
            axes.tricontourf(across.at, up.at, values, levels=LEVELS, **style)
        except (RuntimeError, ValueError):  # all on one line
            pass
    drawn = axes.scatter(across.at, up.at, c=values, edgecolors="black", linewidths=0.7, s=34, zorder=3, **style)
    axes.plot([across.at[best]], [up.at[best]], marker="*", ms=16, color=BEST, mec="white", zorder=4)
    axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
    for scale, set_ticks in ((across, axes.set_xticks), (up, axes.set_yticks)):
        set_ticks([at for at, _ in scale.ticks], [label for _, label in scale.ticks])
    return drawn


def _named(scale: Scale) -> str:
    return labels([scale.name], length=40)[0] + (" (log)" if scale.log else "")
