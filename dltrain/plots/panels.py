"""Grids of images and of class maps, and histograms of generated values next to those of the data."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dltrain.plots.labels import labels

_NAMED = 20  # classes with colours that can be told apart, and a legend


def mosaic(images: np.ndarray, columns: int = 8) -> Figure:
    """Draw images [N, H, W, C] in a grid, with a common range of values."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(max(3.0, 0.7 * columns), max(1.2, 0.7 * rows) + 0.3), layout="constrained")
    _tiles(figure.subplots(), images, columns)
    return figure


def panels(named: Mapping[str, np.ndarray], title: str = "") -> Figure:
    """Draw one row per name of N images [N, H, W, C], all with the range of values of the first row."""
    first = next(iter(named.values()))
    figure, rows = _rows(len(named), len(first), title)
    for axes, (name, images) in zip(rows, named.items(), strict=True):
        _tiles(axes, images, len(first), like=first)
        axes.set_title(name, fontsize=9, loc="left")
    return figure


def masks(
    images: np.ndarray, truth: np.ndarray, prediction: np.ndarray, classes: Sequence[str], title: str = ""
) -> Figure:
    """Draw images [N, H, W, C], and below them their true and predicted classes [N, H, W], with a legend."""
    figure, rows = _rows(3, len(images), title)
    colours = _colours(len(classes))
    drawn = {"input": images, "truth": colours[truth], "prediction": colours[prediction]}
    for axes, (name, tiles) in zip(rows, drawn.items(), strict=True):
        _tiles(axes, tiles, len(images), like=tiles if name == "input" else np.array([[0.0], [1.0]]))
        axes.set_title(name, fontsize=9, loc="left")
    if len(classes) <= _NAMED:
        patches = [Patch(color=colours[k], label=label) for k, label in enumerate(labels(classes))]
        figure.legend(handles=patches, loc="outside right upper", fontsize=8)
    return figure


def _rows(rows: int, columns: int, title: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(max(3.0, 0.8 * columns), 1.1 * rows + 0.3), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=9)
    return figure, list(figure.subplots(rows, squeeze=False)[:, 0])


def _colours(count: int) -> np.ndarray:
    """Return a colour for each class, float [count, 3]; the first one, usually the background, is dark."""
    if count > _NAMED:
        return colormaps["turbo"](np.linspace(0, 1, count))[:, :3]
    found = np.asarray(colormaps["tab10" if count <= 10 else "tab20"](np.arange(count)))[:, :3]
    found[0] = 0.15
    return found


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


def _tiles(axes: Axes, images: np.ndarray, columns: int, like: np.ndarray | None = None) -> None:
    """Draw [N, H, W, C] as one image, with light lines between the tiles, in the range of values of `like`."""
    values, other = _shown(images), _shown(images if like is None else like)
    low, high = other.min(), other.max()
    values = np.clip((values - low) / (high - low if high > low else 1), 0, 1)
    rows = -(-len(values) // columns)
    padded = np.ones((rows * columns, *(s + 1 for s in values.shape[1:3]), values.shape[3]), np.float32)
    padded[: len(values), :-1, :-1] = values
    height, width, depth = padded.shape[1:]
    laid = padded.reshape(rows, columns, height, width, depth).swapaxes(1, 2)
    drawn = np.broadcast_to(laid, (*laid.shape[:-1], 3)).reshape(rows * height, columns * width, 3)
    axes.imshow(drawn, interpolation="nearest")
    axes.set_axis_off()


def _shown(images: np.ndarray) -> np.ndarray:
    """Return red, green and blue, or the mean of the channels; values that are not finite become numbers."""
    values = np.nan_to_num(images.astype(np.float32))
    return values[..., :3] if values.shape[-1] in (3, 4) else values.mean(-1, keepdims=True)
