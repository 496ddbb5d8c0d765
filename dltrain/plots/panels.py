"""Grids of images, and histograms of generated values next to those of the data."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dltrain.plots.labels import labels


def mosaic(images: np.ndarray, columns: int = 8) -> Figure:
    """Draw images [N, H, W, C] in a grid, with a common range of values."""
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(0.7 * columns, 0.7 * rows), layout="constrained")
    _tiles(figure.subplots(), images, columns)
    return figure


def panels(named: Mapping[str, np.ndarray]) -> Figure:
    """Draw one row per name of N images [N, H, W, C] or [N, H, W] (classes), each row with its range of values."""
    count = max(len(images) for images in named.values())
    figure = Figure(figsize=(0.8 * count, 1.1 * len(named)), layout="constrained")
    for axes, (name, images) in zip(figure.subplots(len(named), squeeze=False)[:, 0], named.items(), strict=True):
        images = images[..., None] if images.ndim == 3 else images
        _tiles(axes, images, count)
        axes.set_title(name, fontsize=9, loc="left")
    return figure


def histograms(real: np.ndarray | None, generated: np.ndarray, names: Sequence[str] = ()) -> Figure:
    """Draw histograms of each column (nine at most) of examples [N, F], generated and (if given) real."""
    drawn = {"generated": generated} if real is None else {"data": real, "generated": generated}
    shown = min(9, generated.shape[1])
    titles = labels(list(names) or [f"column {k}" for k in range(generated.shape[1])], length=24)
    columns = min(3, shown)
    rows = -(-shown // columns)
    figure = Figure(figsize=(3.4 * columns, 2.2 * rows + 0.3), layout="constrained")
    for k, axes in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        if k >= shown:
            axes.set_axis_off()
            continue
        both = np.concatenate([values[:, k] for values in drawn.values()])
        edges = np.histogram_bin_edges(both[np.isfinite(both)], 30)
        for label, values in drawn.items():
            axes.hist(values[np.isfinite(values[:, k]), k], edges, density=True, alpha=0.5, label=label)
        axes.set_title(titles[k], fontsize=8)
        axes.set_yticks([])
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=8)
    return figure


def _tiles(axes: Axes, images: np.ndarray, columns: int) -> None:
    """Draw [N, H, W, C] as one image, with light lines between the tiles."""
    values = np.nan_to_num(images.astype(np.float32))
    values = values[..., :3] if values.shape[-1] in (3, 4) else values.mean(-1, keepdims=True)
    low, high = values.min(), values.max()
    values = (values - low) / (high - low if high > low else 1)
    rows = -(-len(values) // columns)
    padded = np.ones((rows * columns, *(s + 1 for s in values.shape[1:3]), values.shape[3]), np.float32)
    padded[: len(values), :-1, :-1] = values
    height, width, depth = padded.shape[1:]
    laid = padded.reshape(rows, columns, height, width, depth).swapaxes(1, 2)
    drawn = np.broadcast_to(laid, (*laid.shape[:-1], 3)).reshape(rows * height, columns * width, 3)
    axes.imshow(drawn, interpolation="nearest")
    axes.set_axis_off()
