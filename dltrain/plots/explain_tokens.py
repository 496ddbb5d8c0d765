"""A figure of texts whose tokens are coloured by what they add to the prediction."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from dltrain.plots.labels import labels
from dltrain.plots.samples import WRONG

WIDE = 110  # characters in a line
LONGEST = 600  # characters of a text that are drawn
INCH = 0.602 * 9 / 72  # width of a character of DejaVu Sans Mono at 9 points
LINE = 0.26  # height of a line


def coloured(
    texts: Sequence[Sequence[str]],
    values: Sequence[np.ndarray],
    titles: Sequence[str],
    *,
    wrong: Sequence[bool] = (),
    spaced: bool = True,
    legend: str = "red: speaks for it, blue: speaks against it; scaled to the strongest token of each text",
) -> Figure:
    """Draw texts, a paragraph each, on colours from blue (against) over white to red (for).

    Args:
        texts: the tokens of each.
        values: of the tokens, signed; or 0 and more, which are red.
        titles: above the texts.
        wrong: which titles are red.
        spaced: whether tokens are words, with a space between them.
        legend: what the colours mean.
    """
    laid = [_lines(tokens, spaced=spaced) for tokens in texts]
    total = sum(len(lines) + 1.6 for lines in laid) + 2.4
    figure = Figure(figsize=(INCH * (WIDE + 4), LINE * total))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-2, WIDE + 2), ylim=(total, 0))
    axes.set_axis_off()
    axes.text(0, 0.7, legend, fontsize=8, color="0.35", va="center")
    top, colours = 1.9, colormaps["bwr"]
    for i, (lines, numbers, title) in enumerate(zip(laid, values, titles, strict=True)):
        red = bool(len(wrong)) and bool(wrong[i])
        axes.text(0, top, title, fontsize=9, weight="bold", color=WRONG if red else "black", va="center")
        bound = max(float(np.abs(numbers).max()) if len(numbers) else 0.0, 1e-12)
        for line in lines:
            top += 1
            for token, place, start in line:
                shade = 0.5 + 0.4 * float(numbers[place]) / bound  # not the darkest: the text must be legible
                box = {"facecolor": colours(shade), "edgecolor": "none", "boxstyle": "square,pad=0.12"}
                axes.text(start, top, token, fontsize=9, family="monospace", va="center", bbox=box)
        top += 1.6
    return figure


def _lines(tokens: Sequence[str], *, spaced: bool) -> list[list[tuple[str, int, int]]]:
    """Break tokens into lines: (what is drawn, its number, the column where it begins)."""
    lines: list[list[tuple[str, int, int]]] = [[]]
    column, written = 0, 0
    for place, token in enumerate(tokens):
        shown = _visible(token)
        if column + len(shown) > WIDE and column:
            lines.append([])
            column = 0
        if written > LONGEST:
            lines[-1].append(("…", place, column))
            break
        lines[-1].append((shown, place, column))
        column, written = column + len(shown) + spaced, written + len(shown) + spaced
    return lines


def _visible(token: str) -> str:
    """Return a token as text that can be drawn: no missing glyphs, no formula, a sign for white space."""
    if not token.strip():
        return "␣" if token else "∅"
    (shown,) = labels([token], length=WIDE // 2)
    return "▯" if shown == "#0" and token != "#0" else shown
