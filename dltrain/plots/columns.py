"""Figures of a table before training: values of each column, missing values, and correlations."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dltrain.plots.labels import labels

MOST = 24  # columns that are drawn
BARS = 8  # values of a category
BINS = 30
ROWS = 400  # of the figure of missing values


def columns(named: Mapping[str, np.ndarray], *, across: int = 4) -> Figure:
    """Draw a histogram of each column of numbers, and the most frequent values of each of texts.

    Args:
        named: values by column, [N]: floats, or texts.
        across: panels in a row.
    """
    chosen = dict(list(named.items())[:MOST])
    down = -(-max(1, len(chosen)) // across)
    figure = Figure(figsize=(3 * across, 2.2 * down), layout="constrained")
    panels = np.atleast_1d(figure.subplots(down, across, squeeze=False)).ravel()
    for axes in panels[len(chosen) :]:
        axes.set_axis_off()
    for axes, (title, values), name in zip(panels, chosen.items(), labels(chosen, length=28), strict=False):
        del title
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        _panel(axes, values)
    more = f" (the first {MOST} of {len(named)})" if len(named) > MOST else ""
    figure.suptitle(f"values of the columns{more}", fontsize=10)
    return figure


def _panel(axes: Axes, values: np.ndarray) -> None:
    if values.dtype.kind == "f":
        finite = values[np.isfinite(values)]
        if len(finite):
            axes.hist(finite, bins=BINS, color="tab:blue")
        return
    names, counts = np.unique(values[values != ""], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:BARS]
    if len(order):
        axes.barh(np.arange(len(order)), counts[order], color="tab:blue")
        axes.set_yticks(np.arange(len(order)), labels(names[order], length=14))
        axes.invert_yaxis()


def gaps(missing: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw where values are missing: bool [N, C]; rows that are left out are evenly spaced."""
    rows = np.linspace(0, len(missing) - 1, min(ROWS, len(missing))).astype(int)
    figure = Figure(figsize=(max(4.0, 0.35 * len(names) + 2), 4.5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(missing[rows], aspect="auto", cmap="Greys", interpolation="nearest", vmin=0, vmax=1)
    axes.set_xticks(np.arange(len(names)), labels(names), rotation=90, fontsize=7)
    axes.set_ylabel("rows, in the order of the file")
    axes.set_yticks([])
    axes.set_title("missing values (black)", fontsize=10)
    return figure


def correlations(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw correlations, float [C, C]."""
    size = float(np.clip(0.35 * len(names) + 2, 4, 11))
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_xticks(np.arange(len(names)), labels(names), rotation=90, fontsize=7)
    axes.set_yticks(np.arange(len(names)), labels(names), fontsize=7)
    axes.set_title("correlations", fontsize=10)
    figure.colorbar(drawn, shrink=0.7)
    return figure
