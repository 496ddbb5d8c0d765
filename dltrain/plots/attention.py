"""Attention weights of a model, next to its inputs or tokens."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dltrain.plots.labels import labels

LONGEST = 40  # more labels on an axis cannot be read


def over_steps(inputs: np.ndarray, weights: np.ndarray, titles: Sequence[str]) -> Figure:
    """Draw sequences or images [N, L, ...], one step per row, with the weight of each step [N, L] next to it."""
    figure = Figure(figsize=(3.0 * len(titles), 3.2), layout="constrained")
    figure.suptitle("weight of each step (row)", fontsize=10)
    panels = figure.subplots(1, 2 * len(titles), squeeze=False, width_ratios=[3, 1] * len(titles))[0]
    for k, title in enumerate(titles):
        left, right = panels[2 * k], panels[2 * k + 1]
        steps = weights.shape[1]
        left.imshow(inputs[k].reshape(steps, -1), aspect="auto", cmap="gray", interpolation="nearest")
        left.set_title(title, fontsize=8)
        right.barh(np.arange(steps), weights[k], height=1.0, color="tab:blue")
        right.set(ylim=(steps - 0.5, -0.5), xlim=(0, 1.05 * max(weights.max(), 1e-12)))
        right.tick_params(labelleft=False, labelsize=6)
        left.set_xticks([])
    return figure


def over_tokens(
    inputs: Sequence[Sequence[str]], generated: Sequence[Sequence[str]], weights: Sequence[np.ndarray]
) -> Figure:
    """Draw the weights [generated, input] of texts, a panel per text: input tokens across, generated ones down."""
    figure = Figure(figsize=(4.2 * len(inputs), 4.2), layout="constrained")
    figure.suptitle("weight of each input token (across) for each generated token (down)", fontsize=10)
    panels = figure.subplots(1, len(inputs), squeeze=False)[0]
    for axes, across, down, shade in zip(panels, inputs, generated, weights, strict=True):
        axes.imshow(shade, aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        for axis, tokens in ((axes.xaxis, across), (axes.yaxis, down)):
            if len(tokens) <= LONGEST:
                shown = [labels([token])[0] for token in tokens]  # one by one: tokens may repeat
                axis.set_ticks(range(len(tokens)), shown, fontsize=7)
        if max(map(len, across)) > 1:
            axes.tick_params(axis="x", rotation=90)
    return figure
