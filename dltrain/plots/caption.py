"""The line below a figure that says what it shows: which examples, which step, which weights."""

import textwrap

from matplotlib.figure import Figure

_POINTS = 8
_INCHES = 0.062  # mean width of a character of this size


def add_caption(figure: Figure, text: str) -> Figure:
    """Write a caption below a figure, in lines that fit its width; return the figure."""
    width = max(20, int(figure.get_size_inches()[0] / _INCHES))
    figure.supxlabel(textwrap.fill(text, width).replace("$", r"\$"), fontsize=_POINTS, color="0.35")
    return figure
