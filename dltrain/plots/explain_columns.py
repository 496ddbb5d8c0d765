"""Figures of which columns of a table matter: importance, partial dependence, and attributions of single rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dltrain.plots.labels import labels
from dltrain.plots.samples import WRONG

MOST = 30  # columns of a bar chart
CURVES = 30  # rows whose curves are drawn
LINES = 8  # outputs in a panel
PARTS = 8  # columns of an attributed row


def importance(
    names: Sequence[str],
    means: Mapping[str, np.ndarray],
    widths: Mapping[str, np.ndarray],
    values: Mapping[str, np.ndarray],
    *,
    titles: Mapping[str, str],
) -> Figure:
    """Draw a bar for each column, the most important first, with its 95 % interval and each repeat as a dot.

    Args:
        names: of the columns, in the order to draw them.
        means: score -> [columns].
        widths: score -> half of the interval, [columns].
        values: score -> [columns, repeats].
        titles: score -> what the axis shows.
    """
    shown = min(MOST, len(names))
    height = 0.27 * shown + 1.1
    figure = Figure(figsize=(4.4 * len(means) + 1.6, max(2.4, height)), layout="constrained")
    short = labels(names[:shown], length=28)
    for i, (axes, score) in enumerate(zip(figure.subplots(1, len(means), squeeze=False)[0], means, strict=True)):
        place = np.arange(shown)
        error = np.nan_to_num(widths[score][:shown])
        axes.barh(place, means[score][:shown], xerr=error, height=0.7, color="#7fa8d1", ecolor="black", capsize=2.5)
        repeats = values[score][:shown]
        axes.plot(repeats.ravel(), np.repeat(place, repeats.shape[1]), ".", ms=2.5, color="0.35", alpha=0.6)
        axes.axvline(0, color="black", lw=0.8)
        axes.set_yticks(place, short if i == 0 else [""] * shown, fontsize=8)
        axes.set_ylim(shown - 0.4, -0.6)
        axes.set_xlabel(titles[score], fontsize=8)
        axes.tick_params(axis="x", labelsize=7)
        axes.grid(axis="x", alpha=0.3)
    more = f" (the first {MOST} of {len(names)})" if len(names) > MOST else ""
    figure.suptitle(f"importance of the columns{more}: what is lost when one is permuted", fontsize=10)
    return figure


@dataclass(frozen=True)
class Panel:
    """What a panel of partial dependence shows.

    Attributes:
        name: of the column.
        grid: float [G], or names of levels.
        curves: output -> predictions, [G, N].
        values: of the column, float [N]; of levels their counts, [G].
    """

    name: str
    grid: np.ndarray
    curves: Mapping[str, np.ndarray]
    values: np.ndarray


def dependence(panels: Sequence[Panel], *, what: str) -> Figure:
    """Draw a panel for each column: the mean prediction over its values, of one output also that of single rows."""
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(3.5 * across + 0.6, 2.7 * down + 0.6), layout="constrained")
    axes_of = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    several = max(len(panel.curves) for panel in panels) > 1
    for axes in axes_of[len(panels) :]:
        axes.set_axis_off()
    names = labels([panel.name for panel in panels], length=34)
    for axes, panel, name in zip(axes_of, panels, names, strict=False):
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(axis="y", alpha=0.3)
        _levels(axes, panel) if panel.grid.dtype.kind not in "fiu" else _numbers(axes, panel)
    if several:
        figure.legend(*axes_of[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    lines = "" if several else ", and of single rows (thin)"
    figure.suptitle(f"mean {what}, when a column is set to a value in all rows{lines}", fontsize=10)
    return figure


def _numbers(axes: Axes, panel: Panel) -> None:
    outputs = list(panel.curves)[:LINES]
    if len(outputs) == 1:
        curves = panel.curves[outputs[0]]
        some = np.unique(np.linspace(0, curves.shape[1] - 1, min(CURVES, curves.shape[1])).astype(int))
        axes.plot(panel.grid, curves[:, some], color="tab:blue", lw=0.5, alpha=0.35)
    for i, (output, short) in enumerate(zip(outputs, labels(outputs, length=24), strict=True)):
        axes.plot(panel.grid, panel.curves[output].mean(1), color=f"C{i}", lw=2.2, label=short)
    low, high = panel.grid.min(), panel.grid.max()
    inside = panel.values[(panel.values >= low) & (panel.values <= high)]
    marks = np.unique(np.quantile(inside, np.linspace(0.1, 0.9, 9))) if len(inside) else []
    axes.plot(marks, np.zeros(len(marks)), "|", color="black", ms=8, transform=axes.get_xaxis_transform())


def _levels(axes: Axes, panel: Panel) -> None:
    outputs = list(panel.curves)[:LINES]
    place, width = np.arange(len(panel.grid)), 0.8 / len(outputs)
    for i, (output, short) in enumerate(zip(outputs, labels(outputs, length=24), strict=True)):
        curves = panel.curves[output]
        at = place + (i - (len(outputs) - 1) / 2) * width
        error = np.quantile(curves, [0.25, 0.75], axis=1) if len(outputs) == 1 else None
        mean = curves.mean(1)
        bars = None if error is None else np.abs(np.maximum([mean - error[0], error[1] - mean], 0))
        axes.bar(at, mean, width, yerr=bars, color=f"C{i}", ecolor="0.3", capsize=2, label=short, alpha=0.85)
    names = [f"{name} ({count:,})" for name, count in zip(panel.grid, panel.values, strict=True)]
    axes.set_xticks(place, labels(names, length=20), rotation=90 if len(names) > 3 else 0, fontsize=7)


def contributions(
    columns: Mapping[str, np.ndarray],
    values: Sequence[Mapping[str, str]],
    titles: Sequence[str],
    *,
    wrong: Sequence[bool] = (),
) -> Figure:
    """Draw the attributions of single rows, a panel for each: its strongest columns, with their values.

    Args:
        columns: column -> its attribution in each row, [N].
        values: for each row, column -> its value.
        titles: of the rows.
        wrong: which titles are red.
    """
    names = list(columns)
    table = np.stack([columns[name] for name in names], 1)
    across = min(4, len(table))
    down, parts = -(-len(table) // across), min(PARTS, len(names))
    figure = Figure(figsize=(3.9 * across, (0.24 * parts + 0.75) * down + 0.5), layout="constrained")
    axes_of = figure.subplots(down, across, squeeze=False).ravel()
    for axes in axes_of[len(table) :]:
        axes.set_axis_off()
    for i, (axes, row, title) in enumerate(zip(axes_of, table, titles, strict=False)):
        order = np.argsort(-np.abs(row), kind="stable")[:parts]
        colours = [WRONG if row[k] > 0 else "tab:blue" for k in order]
        axes.barh(np.arange(parts), row[order], color=colours, height=0.7)
        axes.set_yticks(
            np.arange(parts), [_with_value(names[k], values[i].get(names[k])) for k in order], fontsize=7
        )
        axes.set_ylim(parts - 0.4, -0.6)
        axes.axvline(0, color="black", lw=0.8)
        axes.tick_params(axis="x", labelsize=6)
        red = bool(len(wrong)) and bool(wrong[i])
        axes.set_title(title, fontsize=8, color=WRONG if red else "black")
    figure.suptitle(
        "what each column adds to the output (red) or takes from it (blue), by integrated gradients", fontsize=9
    )
    return figure


def _with_value(name: str, value: str | None) -> str:
    """Return a column with its value; each is shortened by itself."""
    (short,) = labels([name], length=18)
    return short if value is None else f"{short} = {labels([value], length=16)[0]}"
