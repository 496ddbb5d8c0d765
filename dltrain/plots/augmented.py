"""Training examples and, below each, augmented versions of it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dltrain.plots.samples import to_rgb
from dltrain.plots.sheet import sheet
from dltrain.types import Kind

FRAMES = (("black", 1.6), ("0.6", 0.8))  # colour and line width of an original, and of an augmented version


def augmented(originals: np.ndarray, versions: np.ndarray, kind: Kind, titles: Sequence[Sequence[str]]) -> Figure:
    """Draw a column per example: the original above, its augmented versions below.

    Values are clipped to the range of the originals.

    Args:
      originals: images [N, H, W, C] or sequences [N, L, F], in the units of the data.
      versions: [V, N, ...].
      kind: of an example; not a table.
      titles: 1 + V lists of N titles, for the originals and for each version; drawn unchanged.
    """
    low, high = np.nanmin(originals), np.nanmax(originals)
    rows = np.concatenate([originals[None], np.clip(versions, low, high)]).astype(np.float32)
    height, width = rows.shape[:2]
    if kind is Kind.IMAGE:
        frames = [FRAMES[min(i, 1)] for i in range(height) for _ in range(width)]
        above = [title for line in titles for title in line]
        drawn = to_rgb(rows.reshape(-1, *originals.shape[1:]))
        figure = sheet(drawn, above, columns=width, colours=["black"] * len(above), frames=frames)
    else:
        figure = _series(rows, titles, (low, high if high > low else low + 1))
    figure.suptitle("training examples; below, augmented versions of them", fontsize=10)
    return figure


def _series(rows: np.ndarray, titles: Sequence[Sequence[str]], limits: tuple[float, float]) -> Figure:
    """Draw sequences [1 + V, N, L, F] over the same range."""
    height, width = rows.shape[:2]
    figure = Figure(figsize=(max(3.0, 1.35 * width), 1.6 * height + 0.4), layout="constrained")
    for i, line in enumerate(figure.subplots(height, width, squeeze=False)):
        for k, axes in enumerate(line):
            axes.plot(rows[i, k], lw=0.8)
            axes.set_ylim(limits)
            axes.set_box_aspect(1)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(titles[i][k], fontsize=7)
            colour, points = FRAMES[min(i, 1)]
            for spine in axes.spines.values():
                spine.set(edgecolor=colour, linewidth=points)
    return figure
