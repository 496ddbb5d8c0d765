"""Many small images or series, each with a title.

Images share one pair of axes: with axes of its own, each takes 20 ms to lay out and draw.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

CELL, IMAGE = 1.35, 1.22  # inches: width of a cell, longer side of an image
LINE, GAP = 0.14, 0.14  # inches: height of a line of a title, space between the images
LEAST_WIDTH, LEAST_HEIGHT = 4.0, 1.4  # inches, for the title of the figure
AROUND = 0.7  # inches of height for titles and caption


def sheet(
    images: np.ndarray,
    titles: Sequence[str],
    *,
    columns: int,
    colours: Sequence[str],
    frames: Sequence[tuple[str, float]],
) -> Figure:
    """Draw images [N, H, W, 3] in rows, each with its title above it.

    Args:
        images: of one shape; the longer side has the same length in every sheet.
        titles: N, of any number of lines.
        columns: images in a row.
        colours: of the titles.
        frames: colour and line width (points) of each.
    """
    rows, lines = max(1, -(-len(images) // columns)), 1 + max((title.count("\n") for title in titles), default=0)
    width, height = (IMAGE * side / max(images.shape[1:3]) for side in (images.shape[2], images.shape[1]))
    cell = height + GAP + LINE * lines
    size = max(LEAST_WIDTH, CELL * columns), max(LEAST_HEIGHT, cell * rows) + AROUND
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for k, (image, title, (colour, points)) in enumerate(zip(images, titles, frames, strict=True)):
        left, low = CELL * (k % columns + 0.5) - width / 2, cell * (rows - k // columns - 1) + GAP / 2
        axes.imshow(image, extent=(left, left + width, low, low + height))
        axes.add_patch(
            Rectangle((left, low), width, height, fill=False, edgecolor=colour, linewidth=points, clip_on=False)
        )
        where = (left + width / 2, low + height + 0.04)
        axes.text(*where, title, fontsize=8, color=colours[k], ha="center", va="bottom")
    axes.set(xlim=(0, CELL * columns), ylim=(0, cell * rows), aspect="equal")
    axes.set_axis_off()
    return figure


def series_sheet(
    series: np.ndarray,
    titles: Sequence[str],
    *,
    columns: int,
    colours: Sequence[str],
    frames: Sequence[tuple[str, float]],
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw series [N, L, F] as `sheet` draws images; `limits` of the values: None for those of each."""
    rows, lines = max(1, -(-len(titles) // columns)), 1 + max((title.count("\n") for title in titles), default=0)
    size = max(LEAST_WIDTH, CELL * columns), (1.5 + LINE * lines) * rows + AROUND
    figure = Figure(figsize=size, layout="constrained")
    for k, axes in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        if k >= len(titles):
            axes.set_axis_off()
            continue
        axes.plot(series[k], lw=0.8)
        axes.set_ylim(limits)
        axes.set_box_aspect(1)
        axes.xaxis.set_visible(False)  # an axis without ticks is laid out all the same, which takes long for many
        axes.yaxis.set_visible(False)
        axes.set_title(titles[k], fontsize=8, color=colours[k])
        for spine in axes.spines.values():
            spine.set(edgecolor=frames[k][0], linewidth=frames[k][1])
    return figure
