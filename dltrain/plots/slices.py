"""The result of each job of a sweep by each key on its own."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dltrain.plots.decades import spans_decades
from dltrain.plots.labels import labels
from dltrain.plots.parallel import BEST
from dltrain.plots.scales import Scale, make_scale

MOST = 6  # panels
LONGEST = 42  # characters of the labels of a panel in one line
FEW = 10  # different values of a key whose means are drawn


def slices(
    keys: Mapping[str, Sequence[float | str | None]], metric: str, scores: Sequence[float], *, best: int
) -> Figure:
    """Draw one panel for each key (six at most): the result of each job over its value of the key.

    Where a key has few values, a dash shows the mean of the jobs with the same value.

    Args:
        keys: key -> its value in each of N jobs; None: not set.
        metric: name of the result.
        scores: the results, finite [N].
        best: index of the job that is highlighted.
    """
    scales = [make_scale(key, values) for key, values in list(keys.items())[:MOST]]
    columns = min(3, len(scales))
    rows = -(-len(scales) // columns)
    figure = Figure()
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    values = np.asarray(scores, np.float64)
    for axes, scale in zip(panels, scales, strict=False):
        _panel(axes, scale, values, best)
    if spans_decades(values):
        panels[0].set_yscale("log")
    for axes in panels[len(scales) :]:
        axes.set_axis_off()
    for axes in panels[::columns]:
        axes.set_ylabel(labels([metric], length=32)[0], fontsize=9)
    below = 0.95 if any(_is_long(scale) for scale in scales) else 0.6  # inches
    width, height = 3.6 * columns + 0.9, (2.3 + below) * rows + 0.2
    figure.set_size_inches(width, height)
    figure.subplots_adjust(
        left=0.9 / width,
        right=1 - 0.15 / width,
        top=1 - 0.15 / height,
        bottom=below / height,
        hspace=(below + 0.1) / 2.3,
        wspace=0.12,
    )
    return figure


def _panel(axes: Axes, scale: Scale, values: np.ndarray, best: int) -> None:
    """Draw the jobs, the means of those with the same value, and the best one."""
    there = np.isfinite(scale.at)
    places = np.unique(scale.at[there])
    if 1 < len(places) <= FEW:
        means = [values[scale.at == place].mean() for place in places]
        axes.plot(places, means, ls="", marker="_", ms=26, mew=1.6, color="0.4", zorder=2)
    axes.plot(scale.at[there], values[there], ls="", marker="o", ms=5, alpha=0.6, color="tab:blue", zorder=3)
    if there[best]:
        axes.plot([scale.at[best]], [values[best]], marker="*", ms=14, color=BEST, zorder=4)
    axes.set_xlim(-0.06, 1.06)
    axes.set_xticks([at for at, _ in scale.ticks], [label for _, label in scale.ticks], fontsize=8)
    if _is_long(scale):
        for label in axes.get_xticklabels():
            label.set(rotation=25, ha="right")
    axes.set_xlabel(labels([scale.name], length=40)[0] + (" (log)" if scale.log else ""), fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(alpha=0.3)


def _is_long(scale: Scale) -> bool:
    """Tell whether the labels would overlap in one line."""
    return max((len(label) for _, label in scale.ticks), default=0) * len(scale.ticks) > LONGEST
