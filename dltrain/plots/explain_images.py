"""Figures of what a model for images looks at: overlays of attributions, and filters."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from dltrain.plots.samples import WRONG, to_rgb

CLIPPED = 0.995  # quantile of absolute attributions that has the full colour: single pixels are larger
FAINT = 0.35  # how light the image is below an overlay
LARGE = 32  # pixels above which overlays are smoothed, or they look like noise
SMOOTH = 50  # part of the height that is the standard deviation of the smoothing
MOST = 64  # filters that are drawn


def overlays(
    images: np.ndarray,
    attributions: np.ndarray,
    slopes: np.ndarray,
    titles: Sequence[str],
    *,
    wrong: Sequence[bool] = (),
) -> Figure:
    """Draw images [N, H, W, C], and below them their saliency and their attributions, laid over the image.

    Of images of more than 32 pixels the overlays are smoothed.

    Args:
        images: in any range.
        attributions: like the images; positive ones (red) speak for the explained class, negative ones (blue)
            against it.
        slopes: absolute gradients, like the images.
        titles: of the columns.
        wrong: which titles are red.
    """
    shown = to_rgb(images)
    grey = shown.mean(-1, keepdims=True)
    below = np.broadcast_to(1 - FAINT + FAINT * grey, shown.shape)
    smooth = ";\nsmoothed" if min(images.shape[1:3]) > LARGE else ""
    total = smoothed(attributions.sum(-1))
    rows = {
        "image": shown,
        f"saliency\n(where a change\nmatters most{smooth})": _mixed(
            below, _unsigned(smoothed(slopes.max(-1))), "YlOrRd"
        ),
        f"integrated\ngradients\n(red: for it,\nblue: against{smooth})": _mixed(below, _signed(total), "bwr"),
    }
    count = len(images)
    lines = 1 + max((title.count("\n") for title in titles), default=0)
    figure = Figure(figsize=(max(4.5, 1.5 * count + 1.3), 4.7 + 0.16 * lines), layout="constrained")
    panels = figure.subplots(len(rows), count, squeeze=False)
    for line, (name, drawn) in zip(panels, rows.items(), strict=True):
        line[0].set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
        for axes, image in zip(line, drawn, strict=True):
            axes.imshow(image, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_edgecolor("0.7")
    for i, (axes, title) in enumerate(zip(panels[0], titles, strict=True)):
        red = bool(len(wrong)) and bool(wrong[i])
        axes.set_title(title, fontsize=8, color=WRONG if red else "black")
    return figure


def filters(weights: np.ndarray, layer: str) -> Figure:
    """Draw weights [n, h, w, C] of a first layer: three channels as colours, else their mean."""
    shown = weights[:MOST]
    columns = int(np.ceil(np.sqrt(len(shown)) * 1.4))
    rows = -(-len(shown) // columns)
    size = 0.62 if max(weights.shape[1:3]) > 4 else 0.5
    figure = Figure(figsize=(max(3.4, size * columns), size * rows + 0.75), layout="constrained")
    for axes, kernel in zip(figure.subplots(rows, columns, squeeze=False).ravel(), shown, strict=False):
        values = kernel if kernel.shape[-1] == 3 else kernel.mean(-1)
        bound = max(float(np.abs(values).max()), 1e-12)
        scaled = 0.5 + values / (2 * bound)
        if scaled.ndim == 3:
            axes.imshow(scaled, interpolation="nearest")
        else:
            axes.imshow(scaled, cmap="RdBu_r", vmin=0, vmax=1, interpolation="nearest")
    for axes in figure.axes:
        axes.set_axis_off()
    more = f" (the first {MOST} of {len(weights)})" if len(weights) > MOST else ""
    colours = "colours are the weights of the channels" if weights.shape[-1] == 3 else "red is above 0, blue below"
    figure.suptitle(f"weights of {layer}{more}\n{colours}, each scaled to its largest", fontsize=8)
    return figure


def smoothed(values: np.ndarray) -> np.ndarray:
    """Smooth maps of more than 32 pixels, [N, H, W], with a normal kernel; smaller ones stay as they are."""
    if min(values.shape[1:]) <= LARGE:
        return values
    for axis in (1, 2):
        size = values.shape[axis]
        places = np.arange(size)
        kernel = np.exp(-0.5 * np.square((places[:, None] - places[None]) * SMOOTH / size))
        values = np.moveaxis(np.tensordot(values, kernel / kernel.sum(0), (axis, 0)), -1, axis)
    return values


def _unsigned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values [N, H, W] in 0..1, scaled for each image, and how opaque they are drawn."""
    scaled = np.clip(values / _bound(values), 0, 1)
    return scaled, scaled


def _signed(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values [N, H, W] with 0 at 0.5, scaled for each image, and how opaque they are drawn."""
    scaled = np.clip(values / _bound(values), -1, 1)
    return (scaled + 1) / 2, np.abs(scaled) ** 0.7


def _bound(values: np.ndarray) -> np.ndarray:
    found = np.quantile(np.abs(values).reshape(len(values), -1), CLIPPED, axis=1)
    return np.maximum(found, 1e-12)[:, None, None]


def _mixed(below: np.ndarray, scaled: tuple[np.ndarray, np.ndarray], colours: str) -> np.ndarray:
    values, opacity = scaled
    painted = np.asarray(colormaps[colours](values))[..., :3]
    return painted * opacity[..., None] + below * (1 - opacity[..., None])
