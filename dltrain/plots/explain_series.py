"""Heat maps of which stretches of the past a forecast depends on."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dltrain.plots.labels import labels

MOST = 8  # columns or outputs with a panel of their own


def occlusion(
    effect: np.ndarray,
    columns: Sequence[str],
    stretches: Sequence[tuple[int, int]],
    outputs: Sequence[str],
    *,
    title: str,
) -> Figure:
    """Draw the mean change of the prediction: stretches across and columns down, and for each column its horizon.

    Args:
        effect: float [columns, stretches, horizon, outputs].
        columns: names of the columns.
        stretches: first step and the step behind the last one.
        outputs: names of what is predicted; the mean over these is drawn, where there are several.
        title: of the figure.
    """
    mean = effect.mean(3)
    order = np.argsort(-mean.mean((1, 2)), kind="stable")[:MOST]
    steps = mean.shape[2]
    ticks = [str(a) if b - a == 1 else f"{a}…{b - 1}" for a, b in stretches]
    panels = len(order) if steps > 1 else 0
    across = min(4, panels) if panels else 1
    down = -(-panels // across) if panels else 0
    height = 0.26 * len(columns) + 1.5
    figure = Figure(figsize=(max(6.5, 3.0 * across + 1), height + 2.5 * down), layout="constrained")
    grid = figure.add_gridspec(1 + down, across, height_ratios=[height, *[2.5] * down])
    axes = figure.add_subplot(grid[0, :])
    drawn = axes.imshow(mean.mean(2), aspect="auto", cmap="magma_r", vmin=0, interpolation="nearest")
    axes.set_yticks(range(len(columns)), labels(columns, length=20), fontsize=8)
    axes.set_xticks(range(len(ticks)), ticks, fontsize=7, rotation=45 if len(ticks) > 6 else 0)
    axes.set_title("mean over all predicted steps" if steps > 1 else "change of the prediction", fontsize=9)
    axes.set_xlabel("steps that are replaced by the column's mean", fontsize=8)
    figure.colorbar(drawn, ax=axes).ax.tick_params(labelsize=7)
    for k in range(panels):
        own = figure.add_subplot(grid[1 + k // across, k % across])
        shown = own.imshow(mean[order[k]].T, aspect="auto", cmap="magma_r", vmin=0, origin="lower")
        own.set_title(labels([columns[order[k]]], length=24)[0], fontsize=8)
        own.set_xticks(range(0, len(ticks), 2), ticks[::2], fontsize=6, rotation=45)
        places = np.unique(np.linspace(0, steps - 1, min(steps, 6)).astype(int))
        own.set_yticks(places, [str(p + 1) for p in places], fontsize=6)
        if k % across == 0:
            own.set_ylabel("predicted step", fontsize=7)
        figure.colorbar(shown, ax=own).ax.tick_params(labelsize=6)
    figure.suptitle("\n".join([title, f"mean absolute change of {', '.join(map(str, outputs[:4]))}"]), fontsize=9)
    return figure
