"""Loss and metrics by step, for each split."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dltrain.plots.labels import labels

COLOURS = {"train": "tab:blue", "validation": "tab:orange", "test": "tab:green"}
_LOG_SPAN = 100.0  # a loss with a larger ratio of maximum to minimum has a log scale
_PANELS = 12  # with more metrics, those of single classes are not drawn
_MANY = 400  # a curve with this many points is drawn pale, with its moving average on top


def curves(
    history: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    best_step: int | None = None,
    title: str = "",
) -> Figure:
    """Draw one panel for the loss and one per metric that has a finite value.

    Args:
      history: split -> `{"step": [...], "loss": [...], metric: [...]}`, lists of equal length; values that
        are `None` or not finite are left out.
      best_step: the step with the best parameters, marked in each panel.
      title: of the figure.
    """
    history = {split: history[split] for split in sorted(history, key=_place)}
    found = {tag for split, series in history.items() for tag in series if _drawn(split, tag, series)}
    tags = sorted(found - {"step"}, key=lambda tag: (tag != "loss", tag))
    if len(tags) > _PANELS:
        tags = [tag for tag in tags if "/" not in tag or tag.startswith("loss/")]
    columns = max(1, min(3, len(tags)))
    rows = max(1, -(-len(tags) // columns))
    figure = Figure(figsize=(5.2 * columns, 3.6 * rows + 0.4 * bool(title)), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, tag in zip(panels, tags, strict=False):
        _panel(axes, tag, history, best_step)
    for axes in panels[len(tags) :]:
        axes.set_axis_off()
    if not tags:
        panels[0].text(0.5, 0.5, "no finite value was logged", ha="center", transform=panels[0].transAxes)
    if title:
        figure.suptitle(labels([title], length=120)[0])
    return figure


def _panel(
    axes: Axes, tag: str, history: Mapping[str, Mapping[str, Sequence[float]]], best_step: int | None
) -> None:
    drawn = []
    for split, series in history.items():
        if tag not in series:
            continue
        step, value = _points(split, tag, series)
        if step.size:
            _line(axes, split, step, value)
            drawn.append(value)
            if split == "validation" and best_step is not None and best_step in step:
                axes.plot(
                    best_step, value[step == best_step][-1], "*", color="black", mfc=COLOURS[split], ms=13, zorder=4
                )
    axes.set_title(labels([tag], length=40)[0])
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    if best_step is not None:
        axes.axvline(best_step, color="black", ls="--", lw=0.8, alpha=0.6, label=f"best step {best_step:,}")
    values = np.concatenate(drawn)
    positive = values[values > 0]
    if tag == "loss" and values.min() >= 0 and positive.size and positive.max() > _LOG_SPAN * positive.min():
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(positive.min() / 1.5, positive.max() * 1.5)
    axes.legend(loc="best", fontsize=8, framealpha=0.7)


def _place(split: str) -> tuple[int, str]:
    """Order splits as in COLOURS, then by name."""
    known = list(COLOURS)
    return known.index(split) if split in known else len(known), split


def _drawn(split: str, tag: str, series: Mapping[str, Sequence[float]]) -> bool:
    return bool(_points(split, tag, series)[0].size)


def _points(split: str, tag: str, series: Mapping[str, Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the finite points of one curve."""
    step, value = np.asarray(series["step"], dtype=np.int64), np.asarray(series[tag], dtype=np.float64)
    if step.shape != value.shape:
        raise ValueError(f"{split}: {step.size} steps and {value.size} values of {tag} must have the same length")
    finite = np.isfinite(value)
    return step[finite], value[finite]


def _line(axes: Axes, split: str, step: np.ndarray, value: np.ndarray) -> None:
    colour = COLOURS.get(split, "tab:gray")
    marker = "o" if step.size <= 30 else None
    if step.size < _MANY:
        axes.plot(step, value, color=colour, lw=1.5, marker=marker, ms=4, label=split, zorder=3)
        return
    axes.plot(step, value, color=colour, lw=0.6, alpha=0.3, zorder=2)
    width = step.size // 50
    means = np.convolve(value, np.full(width, 1 / width), mode="valid")
    middle = step[(width - 1) // 2 :][: means.size]
    axes.plot(middle, means, color=colour, lw=1.6, label=f"{split} (mean of {width:,} points)", zorder=3)
