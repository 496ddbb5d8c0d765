"""Speed and memory of a training step by batch size."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from dltrain.plots.labels import labels

_MIB = 2**20


def batch_sizes(
    sizes: Sequence[int],
    speeds: Sequence[float],
    memories: Sequence[int],
    *,
    recommended: int | None,
    share: float,
    title: str = "",
) -> Figure:
    """Draw examples per second, and memory, over the batch size.

    Args:
      sizes: batch sizes, growing.
      speeds: examples per second of each.
      memories: bytes of each.
      recommended: the size that is marked; None: none.
      share: of the best speed, drawn as a line: the recommended size is the first above it.
      title: of the figure.
    """
    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    speed, memory = figure.subplots(1, 2)
    speed.plot(sizes, speeds, "o-", color="tab:blue")
    speed.axhline(share * max(speeds), color="black", ls="--", lw=0.8, label=f"{share:.0%} of the best")
    speed.set_ylim(bottom=0)
    speed.set_ylabel("examples per second")
    speed.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    memory.plot(sizes, [size / _MIB for size in memories], "o-", color="tab:orange")
    memory.set_ylim(bottom=0)
    memory.set_ylabel("memory of training in MiB")
    for axes in (speed, memory):
        _by_size(axes, sizes, recommended)
    speed.legend(fontsize=8, loc="lower right")
    if title:
        figure.suptitle(labels([title], length=90)[0])
    return figure


def _by_size(axes: Axes, sizes: Sequence[int], recommended: int | None) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(sizes), [f"{size:,}" for size in sizes], rotation=45 if len(sizes) > 8 else 0)
    axes.minorticks_off()
    axes.set_xlabel("batch size")
    axes.grid(alpha=0.3)
    if recommended is not None:
        axes.axvline(recommended, color="tab:red", lw=1.5, label=f"recommended: {recommended:,}")
