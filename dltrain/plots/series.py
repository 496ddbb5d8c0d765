"""The columns of a time series over time, with the ends of the splits."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dltrain.plots.labels import labels

MOST = 12  # columns that are drawn
POINTS = 2000  # of a line; the lowest and the highest value of each stretch


def series(values: np.ndarray, names: Sequence[str], ends: Mapping[str, int], *, what: str = "row") -> Figure:
    """Draw a panel for each column.

    Args:
        values: [N, C].
        names: of the columns.
        ends: split -> the row behind its last one, marked by a line.
        what: what the rows are counted in.
    """
    shown = min(MOST, values.shape[1])
    figure = Figure(figsize=(9, 1.3 * shown + 0.8), layout="constrained")
    for k, axes in enumerate(figure.subplots(shown, 1, sharex=True, squeeze=False).ravel()):
        rows, column = _thinned(values[:, k])
        axes.plot(rows, column, lw=0.6, color="tab:blue")
        for name, end in ends.items():
            axes.axvline(end, color="0.4", lw=0.8, ls="--")
            if k == 0:
                at = {"xycoords": ("data", "axes fraction"), "rotation": 90, "ha": "right", "va": "top"}
                axes.annotate(f"{name} ends ", (end, 0.98), fontsize=7, **at)
        axes.set_ylabel(labels(list(names), length=14)[k], fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    axes.set_xlabel(what, fontsize=8)
    more = f" (the first {MOST} of {values.shape[1]})" if values.shape[1] > MOST else ""
    figure.suptitle(f"columns over time{more}", fontsize=10)
    return figure


def _thinned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most twice POINTS points that draw the same line: the lowest and highest of each stretch."""
    step = -(-len(values) // POINTS)
    if step < 3:
        return np.arange(len(values)), values
    starts = np.arange(0, len(values) - step + 1, step)
    cut = values[: len(starts) * step].reshape(-1, step)
    rows = np.sort(np.stack([starts + cut.argmin(1), starts + cut.argmax(1)], 1), 1).ravel()
    return rows, values[rows]
