"""Residuals of numbers: the errors by prediction, and how they are distributed."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dltrain.plots.labels import labels

COLUMNS = 4  # targets that are drawn
POINTS = 5000  # of a target
BINS = 40


def residuals(predicted: np.ndarray, errors: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw `errors`, truth minus prediction, of the first targets: by prediction above, their histogram below.

    Args:
        predicted: float [N, T].
        errors: float [N, T].
        names: of the T targets.
    """
    shown = min(COLUMNS, errors.shape[1])
    figure = Figure(figsize=(4.2 * shown + 0.6, 6), layout="constrained")
    more = f" (the first {shown} of {errors.shape[1]})" if shown < errors.shape[1] else ""
    figure.suptitle(f"residuals: truth minus prediction{more}", fontsize=10)
    titles = labels(names, length=28)
    for k, (top, bottom) in enumerate(figure.subplots(2, shown, squeeze=False).T):
        known = np.isfinite(predicted[:, k]) & np.isfinite(errors[:, k])
        _scatter(top, predicted[known, k], errors[known, k], titles[k])
        _histogram(bottom, errors[known, k])
    return figure


def _scatter(axes: Axes, predicted: np.ndarray, errors: np.ndarray, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set(xlabel="predicted", ylabel="residual")
    axes.axhline(0, color="black", lw=0.8, ls="--")
    axes.grid(alpha=0.3)
    if not errors.size:
        return
    some = np.unique(np.linspace(0, len(errors) - 1, min(POINTS, len(errors))).astype(int))
    alpha = float(np.clip(500 / len(some), 0.08, 0.7))
    axes.scatter(predicted[some], errors[some], s=12, alpha=alpha, color="tab:blue", edgecolors="none")
    order = np.argsort(predicted, kind="stable")
    groups = (
        [group for group in np.array_split(order, min(10, len(order) // 8)) if len(group)]
        if len(order) > 15
        else []
    )
    if groups:
        x, y = ([values[group].mean() for group in groups] for values in (predicted, errors))
        axes.plot(x, y, color="tab:orange", lw=1.4, marker="o", ms=3, label="mean")
        axes.legend(fontsize=8)


def _histogram(axes: Axes, errors: np.ndarray) -> None:
    axes.set(xlabel="residual", ylabel="values")
    axes.grid(alpha=0.3)
    if not errors.size:
        return
    axes.hist(errors, bins=min(BINS, max(8, int(np.sqrt(len(errors))))), color="tab:blue", alpha=0.7)
    axes.axvline(0, color="black", lw=0.8, ls="--")
    axes.axvline(errors.mean(), color="tab:orange", lw=1.2)
    axes.set_title(f"mean {errors.mean():.3g} (orange), standard deviation {errors.std():.3g}", fontsize=8)
