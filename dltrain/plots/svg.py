"""Curves as SVG, for HTML: no script, no style sheet, and colours that are readable on white and on black.

Written by hand, since importing matplotlib takes longer than the rest of a report.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PALETTE = ("#3b82f6", "#e8710a", "#16a34a", "#d6409f", "#8b5cf6", "#0d9488", "#b45309", "#6b7280")
DASHES = ("", "7 3", "2 3", "9 3 2 3")  # colours that are used again differ in these
MOST = 600  # points of a curve that are drawn
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 10, 36  # pixels around the axes
FONT = 13
FEW = 40  # points of a line that are drawn as dots
LOG_SPAN = 100.0  # a loss with a larger ratio of maximum to minimum begins with a log scale


@dataclass(frozen=True)
class Line:
    """One curve of a chart: finite values [N] at steps [N]."""

    name: str
    steps: np.ndarray
    values: np.ndarray
    colour: str
    dash: str = ""


def lines(curves: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> list[Line]:
    """Give each curve (name, steps, values) a colour, and thin out long ones."""
    found = []
    for i, (name, steps, values) in enumerate(curves):
        dash = DASHES[i // len(PALETTE) % len(DASHES)]
        found.append(Line(name, *thinned(steps, values), PALETTE[i % len(PALETTE)], dash))
    return found


def thinned(steps: np.ndarray, values: np.ndarray, most: int = MOST) -> tuple[np.ndarray, np.ndarray]:
    """Keep the first and the last point, and the smallest and the largest of each stretch of the others."""
    if len(steps) <= most:
        return steps, values
    kept = {0, len(steps) - 1}
    for block in np.array_split(np.arange(len(steps)), (most - 2) // 2):
        kept |= {int(block[values[block].argmin()]), int(block[values[block].argmax()])}
    at = np.array(sorted(kept))
    return steps[at], values[at]


def wants_log(found: Sequence[Line]) -> bool:
    """Tell whether positive values span so much that a log scale shows more."""
    values = np.concatenate([line.values for line in found]) if found else np.zeros(0)
    return bool(values.size and values.min() > 0 and values.max() > LOG_SPAN * values.min())


@dataclass(frozen=True)
class Axes:
    """Where steps and values lie in a chart of `size` pixels; with `log`, `y` are decimal logarithms."""

    x: tuple[float, float]  # the smallest and the largest step
    y: tuple[float, float]
    size: tuple[int, int]
    log: bool

    def at(self, step: float, value: float) -> tuple[float, float]:
        """Return the place of a point in pixels; `value` is as on the axis."""
        width, height = self.size
        across = (step - self.x[0]) / (self.x[1] - self.x[0])
        up = (value - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (width - LEFT - RIGHT), height - BOTTOM - up * (height - TOP - BOTTOM)


def chart(
    found: Sequence[Line],
    title: str,
    *,
    log: bool = False,
    mark: int | None = None,
    size: tuple[int, int] = (520, 300),
) -> str:
    """Draw lines over their steps.

    Args:
        found: the lines.
        title: read aloud to those who do not see the chart.
        log: whether the values have a log scale; those that are not positive are left out.
        mark: a step with a vertical line, that of the best state.
        size: width and height, in pixels.
    """
    width, height = size
    drawn = [_positive(line) if log else line for line in found]
    drawn = [line for line in drawn if line.values.size]
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(title)}" font-size="{FONT}">'
    if not drawn:
        return f"{head}{_text(width / 2, height / 2, 'no values', 'middle')}</svg>"
    axes = _axes(drawn, size, log=log)
    return "".join([head, *_frame(axes, mark), *(part for line in drawn for part in _line(line, axes)), "</svg>"])


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers between two different values: multiples of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def shown(value: float) -> str:
    """Format a number on an axis in few digits."""
    if value == int(value) and abs(value) < 1e5:
        return str(int(value))
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        mantissa, _, exponent = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return f"{value:.4g}"


def _span(low: float, high: float) -> tuple[float, float]:
    """Return the ends of an axis, which differ."""
    return (low, high) if high - low > 1e-9 * max(abs(low), abs(high)) else (low - 0.5, high + 0.5)


def _positive(line: Line) -> Line:
    keep = line.values > 0
    return Line(line.name, line.steps[keep], line.values[keep], line.colour, line.dash)


def _axes(drawn: Sequence[Line], size: tuple[int, int], *, log: bool) -> Axes:
    """Return axes that hold all points."""
    steps = np.concatenate([line.steps for line in drawn])
    values = np.concatenate([line.values for line in drawn])
    low, high = float(values.min()), float(values.max())
    y = _span(*(math.log10(low), math.log10(high)) if log else (low, high))
    return Axes(_span(float(steps.min()), float(steps.max())), y, size, log)


def _frame(axes: Axes, mark: int | None) -> list[str]:
    """Draw the axes with their ticks, and the step that is marked."""
    width, height = axes.size
    bottom, right = height - BOTTOM, width - RIGHT
    parts = []
    for tick in ticks(*axes.y):
        y = axes.at(axes.x[0], tick)[1]
        parts.append(_path(f"M{LEFT} {y:.1f}H{right}", "currentColor", 'stroke-opacity="0.15"'))
        parts.append(_text(LEFT - 6, y + 4, shown(10**tick if axes.log else tick), "end"))
    for tick in ticks(*axes.x):
        if tick == int(tick):
            parts.append(_text(axes.at(tick, axes.y[0])[0], bottom + 17, shown(tick), "middle"))
    parts.append(_text((LEFT + right) / 2, height - 4, "step", "middle"))
    parts.append(_path(f"M{LEFT} {TOP}V{bottom}H{right}", "currentColor", 'stroke-opacity="0.5"'))
    if mark is not None and axes.x[0] <= mark <= axes.x[1]:
        dashed = 'stroke-dasharray="3 3" stroke-opacity="0.6"'
        parts.append(_path(f"M{axes.at(mark, axes.y[0])[0]:.1f} {TOP}V{bottom}", "currentColor", dashed))
    return parts


def _line(line: Line, axes: Axes) -> list[str]:
    """Draw a line, with a dot at each point if there are few."""
    values = np.log10(line.values) if axes.log else line.values
    at = [axes.at(step, value) for step, value in zip(line.steps, values, strict=True)]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
    dash = f'stroke-dasharray="{line.dash}"' if line.dash else ""
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{line.colour}"/>' for x, y in at if len(at) <= FEW]
    return [_path(path, line.colour, f'stroke-width="2" stroke-linejoin="round" {dash}'), *dots]


def _path(d: str, colour: str, more: str = "") -> str:
    return f'<path d="{d}" fill="none" stroke="{colour}" {more}/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">{html.escape(text)}</text>'
