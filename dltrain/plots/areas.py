"""ROC and precision-recall curves of classes or labels, each against the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dltrain.plots.labels import labels

MOST = 10  # curves; of more classes, those with the smallest areas
POINTS = 1000  # of a curve that are drawn


@dataclass(frozen=True)
class Line:
    """A curve with the area below it; `chance` is the height of a guess."""

    x: np.ndarray
    y: np.ndarray
    area: float
    chance: float = 0.0


def roc(lines: Mapping[str, Line]) -> Figure:
    """Draw ROC curves: true positives by false positives, both as shares."""
    figure, axes = _axes(lines, "ROC")
    for name, line, colour in _chosen(lines):
        at = _some(len(line.x))
        axes.plot(np.append(0, line.x[at]), np.append(0, line.y[at]), lw=1.4, color=colour, label=name)
    axes.plot([0, 1], [0, 1], color="0.6", lw=0.8, ls="--", label="chance, 0.5")
    axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
    _finish(axes, "AUROC")
    return figure


def precision_recall(lines: Mapping[str, Line]) -> Figure:
    """Draw precision by recall in steps; dotted lines are the shares of the classes, the precision of a guess."""
    figure, axes = _axes(lines, "precision and recall")
    for name, line, colour in _chosen(lines):
        at = _some(len(line.x))
        x, y = np.append(0, line.x[at]), np.append(line.y[at][:1], line.y[at])
        axes.step(x, y, where="pre", lw=1.4, color=colour, label=name)
        axes.axhline(line.chance, color=colour, lw=0.7, ls=":", alpha=0.8)
    axes.set(xlabel="recall", ylabel="precision")
    _finish(axes, "average precision")
    return figure


def _axes(lines: Mapping[str, Line], what: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.subplots()
    few = f" (the {MOST} of {len(lines)} with the smallest areas)" if len(lines) > MOST else ""
    one = f" of {labels(lines, length=30)[0]}" if len(lines) == 1 else ""
    axes.set_title(f"{what}{one}{few}", fontsize=10)
    return figure, axes


def _chosen(lines: Mapping[str, Line]) -> list[tuple[str, Line, Any]]:
    """Return the lines to draw, in the order of the classes, with labels and colours."""
    known = [i for i, line in enumerate(lines.values()) if np.isfinite(line.area)]
    areas = [line.area for line in lines.values()]
    kept = sorted(sorted(known, key=lambda i: areas[i])[:MOST])
    names, every = labels(lines, length=22), list(lines.values())
    colours = colormaps["tab10"]
    return [(f"{names[i]}, {every[i].area:.3f}", every[i], colours(k % 10)) for k, i in enumerate(kept)]


def _some(count: int) -> np.ndarray:
    """Return evenly spaced positions, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).astype(int))


def _finish(axes: Axes, title: str) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.03)
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    axes.legend(title=title, fontsize=8, title_fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1))
