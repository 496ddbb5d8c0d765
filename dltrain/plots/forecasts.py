"""Forecasts of a time series: windows with what came before and the truth, and the error by step of the horizon."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from dltrain.plots.labels import labels

PAST = 2  # drawn steps of the past, in horizons
COLUMNS = 3  # columns of the data that are drawn


def forecasts(
    past: np.ndarray,
    truth: np.ndarray,
    decided: Mapping[str, np.ndarray],
    *,
    names: Sequence[str] = (),
    titles: Sequence[str] = (),
) -> Figure:
    """Draw windows one below the other, a panel for each of the first three columns.

    Args:
        past: the predicted columns before the horizon, [N, L, C]; L may be 0.
        truth: their values in the horizon, [N, H, C].
        decided: `value` [N, H, C], and with an interval `low` and `high`.
        names: names of the C columns.
        titles: what each of the N windows is called.
    """
    count, horizon, columns = truth.shape
    shown = min(COLUMNS, columns)
    past = past[:, max(0, past.shape[1] - PAST * horizon) :]
    short = labels(list(names) or [f"column {k}" for k in range(columns)], length=24)
    figure = Figure(figsize=(4.4 * shown, 2.1 * count + 0.6), layout="constrained")
    before, ahead = np.arange(-past.shape[1], 0), np.arange(horizon)
    marker = "o" if horizon == 1 else None
    for row, line in enumerate(figure.subplots(count, shown, squeeze=False)):
        for k, axes in enumerate(line):
            if past.shape[1]:
                axes.plot(before, past[row, :, k], color="0.5", lw=0.8)
            axes.plot(ahead, truth[row, :, k], color="black", lw=1.0, marker=marker, label="true")
            axes.plot(ahead, decided["value"][row, :, k], color="tab:blue", lw=1.2, marker=marker, label="forecast")
            if "low" in decided:
                low, high = decided["low"][row, :, k], decided["high"][row, :, k]
                axes.fill_between(ahead, low, high, color="tab:blue", alpha=0.2, lw=0, label="interval")
            axes.axvline(-0.5, color="0.8", lw=0.8)
            axes.grid(alpha=0.3)
            axes.tick_params(labelsize=7)
            axes.set_title(f"{short[k]}{f', {titles[row]}' if titles else ''}", fontsize=8)
    handles, texts = line[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside upper right", ncols=len(texts), fontsize=8)
    figure.supxlabel("steps after the start of the forecast", fontsize=8)
    return figure


def per_step(values: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw metrics by step of the horizon, [H, M], one panel for each."""
    figure = Figure(figsize=(3.4 * len(names), 2.8), layout="constrained")
    for axes, column, name in zip(figure.subplots(1, len(names), squeeze=False)[0], values.T, names, strict=True):
        axes.plot(np.arange(1, len(column) + 1), column, marker="." if len(column) < 30 else None)
        axes.set(xlabel="step of the horizon", title=name)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    return figure


def per_step_table(values: np.ndarray, names: Sequence[str]) -> str:
    """Return metrics by step of the horizon, [H, M], as CSV with a header."""
    rows = [f"{step},{','.join(f'{value:.9g}' for value in row)}" for step, row in enumerate(values, 1)]
    return "\n".join([",".join(["step", *names]), *rows, ""])
