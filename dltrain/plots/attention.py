"""Where a model looked: its weights over the steps of what it read, beside what it read or wrote."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dltrain.plots.labels import labels

LONGEST = 40  # labels of an axis beyond which none can be read


def over_steps(inputs: np.ndarray, weights: np.ndarray, titles: Sequence[str]) -> Figure:
    """Draw sequences or pictures [N, L, ...], step under step, with the weight of each step [N, L] at its side."""
    figure = Figure(figsize=(3.0 * len(titles), 3.2), layout="constrained")
    figure.suptitle("weight of each step (row)", fontsize=10)
    panels = figure.subplots(1, 2 * len(titles), squeeze=False, width_ratios=[3, 1] * len(titles))[0]
    for k, title in enumerate(titles):
        seen, side = panels[2 * k], panels[2 * k + 1]
        steps = weights.shape[1]
        seen.imshow(inputs[k].reshape(steps, -1), aspect="auto", cmap="gray", interpolation="nearest")
        seen.set_title(title, fontsize=8)
        side.barh(np.arange(steps), weights[k], height=1.0, color="tab:blue")
        side.set(ylim=(steps - 0.5, -0.5), xlim=(0, 1.05 * max(weights.max(), 1e-12)))
        side.tick_params(labelleft=False, labelsize=6)
        seen.set_xticks([])
    return figure


def over_tokens(
    read: Sequence[Sequence[str]], written: Sequence[Sequence[str]], weights: Sequence[np.ndarray]
) -> Figure:
    """Draw the weights [written, read] of texts, a panel each: what was written downwards, what was read across."""
    figure = Figure(figsize=(4.2 * len(read), 4.2), layout="constrained")
    figure.suptitle("where each token (downwards) was looked for (across)", fontsize=10)
    panels = figure.subplots(1, len(read), squeeze=False)[0]
    for axes, across, down, shade in zip(panels, read, written, weights, strict=True):
        axes.imshow(shade, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        for axis, tokens in ((axes.xaxis, across), (axes.yaxis, down)):
            if len(tokens) <= LONGEST:
                shown = [labels([token])[0] for token in tokens]  # one by one: a token may come again
                axis.set_ticks(range(len(tokens)), shown, fontsize=7)
        if max(map(len, across)) > 1:
            axes.tick_params(axis="x", rotation=90)
    return figure
