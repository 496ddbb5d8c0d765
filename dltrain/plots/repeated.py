"""A metric of several runs that repeat one training: the value of each, their mean and its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

FEW = 10  # runs that all have a label


@dataclass(frozen=True)
class Strip:
    """The values of a metric.

    Attributes:
        title: of the panel, as validation/accuracy.
        numbers: the fold or the seed of each run.
        values: of each run.
        mean: of the values.
        interval: of the mean; None: none is drawn.
        lines: further values, by name: such as that of the ensemble.
    """

    title: str
    numbers: Sequence[int]
    values: Sequence[float]
    mean: float
    interval: tuple[float, float] | None = None
    lines: Mapping[str, float] = field(default_factory=dict)


def repeated(strips: Sequence[Strip], noun: str) -> Figure:
    """Draw a panel for each metric.

    Args:
      strips: the panels.
      noun: what the runs differ in: fold, seed.
    """
    figure = Figure(figsize=(0.6 + 4.6 * len(strips), 3.9), layout="constrained")
    for axes, strip in zip(figure.subplots(1, len(strips), squeeze=False)[0], strips, strict=True):
        _draw(axes, strip, noun)
    return figure


def _draw(axes: Axes, strip: Strip, noun: str) -> None:
    axes.plot(strip.numbers, strip.values, "o", color="tab:blue", label=f"each {noun}", zorder=3)
    axes.axhline(strip.mean, color="tab:blue", lw=1.5, label="mean")
    if strip.interval:
        axes.axhspan(*strip.interval, color="tab:blue", alpha=0.15, lw=0, label="95 % interval of the mean")
    for colour, (name, value) in zip(("tab:red", "tab:orange"), strip.lines.items(), strict=False):
        axes.axhline(value, color=colour, ls="--", lw=1.5, label=name)
    if len(strip.numbers) <= FEW:
        axes.set_xticks(list(strip.numbers), [str(number) for number in strip.numbers])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title=strip.title, xlabel=noun)
    axes.margins(x=0.1)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)
