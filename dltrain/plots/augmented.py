"""Training examples and, below each, augmented versions of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dltrain.kinds import Kind
from dltrain.plots.samples import to_rgb
from dltrain.plots.sheet import series_sheet, sheet

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
    flat, above = rows.reshape(-1, *originals.shape[1:]), [title for line in titles for title in line]
    frames = [FRAMES[min(i, 1)] for i in range(height) for _ in range(width)]
    about: dict[str, Any] = {"columns": width, "colours": ["black"] * len(above), "frames": frames}
    if kind is Kind.IMAGE:
        figure = sheet(to_rgb(flat), above, **about)
    else:
        figure = series_sheet(flat, above, **about, limits=(low, high if high > low else low + 1))
    figure.suptitle("training examples; below, augmented versions of them", fontsize=10)
    return figure
