"""A few images of each class, before anything is trained."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from dltrain.plots.labels import labels
from dltrain.plots.samples import to_rgb

CLASSES = 10  # rows of the figure, at most


def gallery(images: Mapping[str, np.ndarray], counts: Mapping[str, int]) -> Figure:
    """Draw a row of images for each class.

    Args:
        images: class -> a few of its images, all of which are drawn, uint8 [n, H, W, C].
        counts: class -> number of all its images.
    """
    shown = dict(list(images.items())[:CLASSES])
    across = max(len(found) for found in shown.values())
    figure = Figure(figsize=(1.1 * across + 1.4, 1.15 * len(shown) + 0.6), layout="constrained")
    panels = figure.subplots(len(shown), across, squeeze=False)
    for line, (name, found), short in zip(panels, shown.items(), labels(list(shown), length=16), strict=True):
        for axes, image in zip(line, to_rgb(found[:across]), strict=False):
            axes.imshow(image, interpolation="nearest")
        for axes in line:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(f"{short}\n{counts[name]:,}", fontsize=8, rotation=0, ha="right", va="center")
    more = f" (the first {CLASSES} of {len(images)} classes)" if len(images) > CLASSES else ""
    figure.suptitle(f"images of each class, and how many there are{more}", fontsize=10)
    return figure
