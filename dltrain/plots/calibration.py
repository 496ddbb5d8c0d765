"""Reliability diagram: how often predictions of each confidence are right, and how many there are."""

import numpy as np
from matplotlib.figure import Figure


def calibration(
    counts: np.ndarray, confidence: np.ndarray, right: np.ndarray, *, error: float, what: str
) -> Figure:
    """Draw bins of confidence of equal width.

    Args:
        counts: predictions in each bin, [K].
        confidence: their mean confidence, NaN of an empty bin.
        right: the share that was right.
        error: the expected calibration error.
        what: of what the confidence is.
    """
    figure = Figure(figsize=(5.4, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    bins, total = len(counts), counts.sum()
    filled = counts > 0
    middle, width = (np.arange(bins) + 0.5) / bins, 1 / bins
    top.plot([0, 1], [0, 1], color="0.6", lw=0.8, ls="--", label="calibrated")
    x, y, weight = confidence[filled], right[filled], counts[filled]
    with np.errstate(invalid="ignore"):
        spread = 1.96 * np.sqrt(np.maximum(y * (1 - y), 1e-9) / weight)
    low, high = np.minimum(spread, y), np.minimum(spread, 1 - y)
    top.errorbar(x, y, yerr=[low, high], color="tab:blue", lw=1.2, marker="o", ms=4, elinewidth=0.8, label="model")
    top.set(ylabel="share that is right", xlim=(0, 1), ylim=(-0.02, 1.02))
    top.set_title(f"calibration: expected error {error:.3f}", fontsize=10)
    top.legend(fontsize=8, loc="upper left")
    bottom.bar(middle, counts / max(total, 1), width=width, color="tab:blue", alpha=0.7, edgecolor="white", lw=0.5)
    bottom.set(xlabel=what, ylabel="share of all")
    for axes in (top, bottom):
        axes.grid(alpha=0.3)
    return figure
