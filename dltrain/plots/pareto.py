"""Two objectives of a sweep, and the jobs that no other job beats in both."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dltrain.plots.decades import spans_decades
from dltrain.plots.labels import labels
from dltrain.plots.parallel import BEST

MOST = 15  # jobs of the front that are named


def pareto(
    names: Sequence[str], values: np.ndarray, jobs: Sequence[str], *, front: Sequence[int], higher: Sequence[bool]
) -> Figure:
    """Draw jobs by two objectives, with the Pareto front.

    Args:
        names: of the two objectives.
        values: their finite values in N jobs, [N, 2].
        jobs: names of the jobs.
        front: indices of the jobs that no other job beats, in the order of the first objective.
        higher: of each objective, whether more of it is better.
    """
    figure = Figure(figsize=(6.4, 4.6))
    axes = figure.add_axes((0.15, 0.13, 0.8, 0.78))
    axes.plot(values[:, 0], values[:, 1], ls="", marker="o", ms=5, alpha=0.5, color="tab:blue")
    x, y = values[list(front), 0], values[list(front), 1]
    axes.plot(x, y, drawstyle="steps-post", color=BEST, lw=1.4, zorder=3)
    axes.plot(x, y, ls="", marker="o", ms=6, color=BEST, zorder=4)
    for i in front[:MOST]:
        axes.annotate(jobs[i], values[i], (5, 5), textcoords="offset points", fontsize=8)
    if spans_decades(values[:, 0]):
        axes.set_xscale("log")
    if spans_decades(values[:, 1]):
        axes.set_yscale("log")
    better = ["higher" if more else "lower" for more in higher]
    axes.set_xlabel(f"{labels([names[0]], length=40)[0]} ({better[0]} is better)", fontsize=9)
    axes.set_ylabel(f"{labels([names[1]], length=40)[0]} ({better[1]} is better)", fontsize=9)
    axes.set_title(f"Pareto front: {len(front)} of {len(jobs)} jobs", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    return figure
