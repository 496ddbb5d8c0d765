"""Parallel coordinates: a line for each job of a sweep through its values and its result."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dltrain.plots.labels import labels
from dltrain.plots.scales import Scale, make_scale

BEST = "#d62728"
MOST = 8  # keys that are drawn


def parallel(
    keys: Mapping[str, Sequence[float | str | None]],
    metric: str,
    scores: Sequence[float],
    *,
    best: int,
    higher: bool,
) -> Figure:
    """Draw an axis for each key (eight at most) and one for the metric, and a line for each job.

    Args:
        keys: key -> its value in each of N jobs; None: not set.
        metric: name of the result.
        scores: the results, finite [N].
        best: index of the job that is highlighted.
        higher: whether a higher result is better; better jobs are darker.
    """
    scales = [make_scale(key, values) for key, values in list(keys.items())[:MOST]]
    scales.append(make_scale(metric, list(scores)))
    figure = Figure(figsize=(max(5.0, 1.7 * len(scales) + 0.6), 4.4))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set(xlim=(-0.55, len(scales) - 0.5), ylim=(-0.12, 1.3))
    places = np.stack([scale.at for scale in scales], axis=1)
    quality = scales[-1].at if higher else 1 - scales[-1].at
    colours = colormaps["viridis_r"](0.1 + 0.9 * quality)
    width, pale = (1.6, 0.85) if len(scores) <= 60 else (0.8, 0.5)
    for i in sorted(range(len(scores)), key=lambda i: quality[i]):
        if i != best:
            axes.plot(places[i], color=colours[i], lw=width, alpha=pale, zorder=2)
    axes.plot(places[best], color=BEST, lw=2.6, marker="o", ms=5, zorder=4)
    for x, scale in enumerate(scales):
        _axis(axes, x, scale)
    about = f"{len(scores)} jobs: darker is better, red is the best"
    axes.text(0.5, 0.02, about, fontsize=8, color="0.35", ha="center", transform=axes.transAxes)
    return figure


def _axis(axes: Axes, x: int, scale: Scale) -> None:
    """Draw one vertical axis with its ticks and its name."""
    axes.plot([x, x], [0, 1], color="0.2", lw=1.0, zorder=3)
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.6}
    for at, label in scale.ticks:
        axes.plot([x - 0.025, x], [at, at], color="0.2", lw=1.0, zorder=3)
        axes.text(x - 0.05, at, label, fontsize=8, ha="right", va="center", bbox=box, zorder=5)
    head, dot, last = scale.name.rpartition(".")
    name = "\n".join([*([head + dot] if head else []), last]).replace("/", "/\n")
    lines = [labels([part], length=20)[0] for part in name.split("\n")]
    if scale.log:
        lines[-1] += " (log)"
    axes.text(x, 1.05, "\n".join(lines), fontsize=8.5, ha="center", va="bottom", fontweight="bold")
