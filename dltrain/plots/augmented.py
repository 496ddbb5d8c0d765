"""Training examples and, below each, augmented versions of it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dltrain.plots.samples import to_rgb
from dltrain.types import Kind


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
    drawn = to_rgb(rows.reshape(-1, *originals.shape[1:])) if kind is Kind.IMAGE else rows
    drawn = drawn.reshape(*rows.shape[:2], *drawn.shape[-3:]) if kind is Kind.IMAGE else drawn
    height, width = rows.shape[:2]
    figure = Figure(figsize=(max(3.0, 1.35 * width), 1.6 * height + 0.4), layout="constrained")
    figure.suptitle("training examples; below, augmented versions of them", fontsize=10)
    for i, line in enumerate(figure.subplots(height, width, squeeze=False)):
        for k, axes in enumerate(line):
            if kind is Kind.IMAGE:
                axes.imshow(drawn[i, k])
            else:
                axes.plot(drawn[i, k], lw=0.8)
                axes.set_ylim(low, high if high > low else low + 1)
                axes.set_box_aspect(1)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(titles[i][k], fontsize=7)
            for spine in axes.spines.values():
                spine.set(edgecolor="black" if i == 0 else "0.6", linewidth=1.6 if i == 0 else 0.8)
    return figure
