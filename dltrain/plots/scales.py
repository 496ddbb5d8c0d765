"""Where values of any kind lie on an axis from 0 to 1: numbers, numbers over decades, and texts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dltrain.plots.decades import spans_decades
from dltrain.plots.labels import labels
from dltrain.plots.svg import shown, ticks

FEW = 7  # different numbers that each get a tick
APART = 0.06  # least distance of two ticks


@dataclass(frozen=True)
class Scale:
    """The values of N jobs on an axis."""

    name: str
    at: np.ndarray  # [N], from 0 to 1; NaN for a job without a value
    ticks: tuple[tuple[float, str], ...]  # place and label
    log: bool = False


def make_scale(name: str, values: Sequence[float | str | None]) -> Scale:
    """Place values on an axis; None is left out. If any value is a text, all are categories."""
    known = [value for value in values if value is not None]
    if known and not any(isinstance(value, str) for value in known):
        return _of_numbers(name, np.array([np.nan if v is None else v for v in values], np.float64))
    texts = sorted({str(value) for value in known})
    places = np.linspace(0.0, 1.0, len(texts)) if len(texts) > 1 else np.array([0.5])
    where = dict(zip(texts, places, strict=False))
    at = np.array([np.nan if value is None else where[str(value)] for value in values])
    return Scale(name, at, tuple(zip(places.tolist(), labels(texts, length=18), strict=False)))


def _of_numbers(name: str, values: np.ndarray) -> Scale:
    log = spans_decades(values)
    measured = np.log10(values) if log else values
    low, high = float(np.nanmin(measured)), float(np.nanmax(measured))
    if high == low:
        low, high = low - 0.5, high + 0.5
    place = (measured - low) / (high - low)
    different = np.unique(values[np.isfinite(values)])
    if len(different) <= FEW:
        marks = different
    elif log:
        marks = np.array([10.0**power for power in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)])
    else:
        marks = np.array(ticks(low, high))
    found: list[tuple[float, str]] = []
    for mark in marks:
        at = ((math.log10(mark) if log else float(mark)) - low) / (high - low)
        if not found or at - found[-1][0] >= APART:
            found.append((float(at), shown(float(mark))))
    return Scale(name, place, tuple(found), log)
