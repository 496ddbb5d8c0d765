"""The curve of a learning rate range test: loss by learning rate, with the suggested rates."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from dltrain.plots.labels import labels

_COLOURS = ("tab:red", "tab:green", "tab:purple", "tab:brown")
_SPACE = 0.15  # of the range of the losses, above and below it
_MOST = 0.95  # of the losses are in the figure; the highest ones are those of a divergence


def learning_rates(
    rates: np.ndarray,
    losses: np.ndarray,
    means: np.ndarray,
    *,
    count: int,
    suggestions: Mapping[str, float],
    recommended: str,
    title: str = "",
) -> Figure:
    """Draw the loss of each step and its moving average, up to where it diverges.

    Args:
      rates: every learning rate of the test, growing, float [N].
      losses: of the first n <= N steps, float [n].
      means: the moving average of the losses, float [n].
      count: points before divergence, at most n.
      suggestions: name -> learning rate, each marked by a vertical line.
      recommended: the name that is drawn bold.
      title: of the figure.
    """
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.plot(rates[: len(losses)], losses, ".", color="tab:blue", alpha=0.35, ms=4, label="loss of a batch")
    axes.plot(rates[:count], means[:count], color="tab:blue", lw=1.8, label="moving average")
    if count < len(rates):
        axes.axvspan(rates[count], rates[-1], color="0.88", lw=0, label="diverged: not considered")
    for number, (name, rate) in enumerate(suggestions.items()):
        colour, bold = _COLOURS[number % len(_COLOURS)], name == recommended
        label = f"{name} {rate:.2g}" + (" (recommended)" if bold else "")
        axes.axvline(rate, color=colour, lw=2.0 if bold else 1.0, ls="-" if bold else "--", label=label)
    if count:
        seen = np.concatenate([losses[:count], means[: int(means[:count].argmin()) + 1]])  # not the rise at the end
        low, high = float(seen.min()), float(np.quantile(seen, _MOST))
        space = _SPACE * (high - low) or 1.0
        axes.set_ylim(low - space, high + space)
    axes.set_xlim(rates[0], rates[-1])
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, framealpha=0.8)
    if title:
        axes.set_title(labels([title], length=90)[0])
    return figure
