"""The confusion matrix: counts, and shares of each true class."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from dltrain.plots.labels import labels

_NUMBERS = 20  # with more classes, cells have no numbers
_TICKS = 34  # labels that fit on an axis


def confusion(matrix: np.ndarray, classes: Sequence[str] = ()) -> Figure:
    """Draw `matrix` int [K, K], rows true and columns predicted; the row of a class without examples is grey.

    Args:
      matrix: number of examples, `matrix[true, predicted]`.
      classes: K names; numbers if empty.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or (len(classes) not in (0, len(matrix))):
        raise ValueError(f"expected a matrix [K, K] and K class names, found {matrix.shape} and {len(classes)}")
    names = labels(classes) if len(classes) else [str(k) for k in range(len(matrix))]
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.full(matrix.shape, np.nan), where=totals > 0)
    size = float(np.clip(1.6 + 0.55 * len(matrix), 3.8, 8.5))
    figure = Figure(figsize=(2 * size + 1.0, size + 0.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    _panel(left, matrix, names, "examples", size)
    _panel(right, shares, names, "share of the true class", size)
    right.set_ylabel("")
    total = int(matrix.sum())
    accuracy = f"accuracy {np.trace(matrix) / total:.2%}" if total else "no examples"
    figure.suptitle(f"{accuracy} of {total:,} examples" if total else accuracy)
    return figure


def _panel(axes: Axes, values: np.ndarray, names: Sequence[str], title: str, size: float) -> None:
    colours = colormaps["Blues"].with_extremes(bad="0.9")
    is_share = np.issubdtype(values.dtype, np.floating)
    top = 1.0 if is_share else max(1, int(values.max(initial=0)))
    # The square root keeps a few confusions visible next to thousands of right predictions.
    drawn = axes.imshow(np.ma.masked_invalid(values), cmap=colours, norm=PowerNorm(0.5, 0, top))
    every = -(-len(names) // _TICKS)
    ticks = np.arange(0, len(names), every)
    shown = [names[k] for k in ticks]
    font = 9 if len(shown) <= 12 else 7
    upright = max(map(len, shown), default=0) > 3
    axes.set_xticks(ticks, shown, rotation=90 if upright else 0, fontsize=font)
    axes.set_yticks(ticks, shown, fontsize=font)
    axes.set(title=title, xlabel="predicted", ylabel="true")
    if len(names) <= _NUMBERS:
        _numbers(axes, values, is_share, size)
    else:
        axes.figure.colorbar(drawn, ax=axes, shrink=0.8)


def _numbers(axes: Axes, values: np.ndarray, is_share: bool, size: float) -> None:
    """Write the number of each cell, in white on dark cells."""
    top = 1.0 if is_share else max(1, values.max())
    cell = size * 0.72 / len(values)  # inches
    for (row, column), value in np.ndenumerate(values):
        if not np.isfinite(value):
            continue
        text = f"{value}" if not is_share else f"{value:.2f}" if value >= 0.005 else "<.01" if value else "0"
        points = min(11.0, 72 * 0.8 * cell / (0.62 * max(len(text), 3)))
        colour = "white" if value > 0.3 * top else ("0.6" if value == 0 else "black")
        drawn = axes.text(column, row, text, ha="center", va="center", fontsize=points, color=colour)
        drawn.set_in_layout(False)  # it is inside the axes, and takes long to measure
