"""Findings about time series: columns that never change, sensors that are stuck, outliers, seasons."""

from collections.abc import Iterator

import numpy as np

from dltrain.data.quality.columns import far_from_middle
from dltrain.data.quality.finding import Finding, What
from dltrain.data.series.read import Series

STUCK = 0.004  # part of the rows that one repetition of a value takes, from which it is reported
LEAST_STUCK = 24  # rows
SEASONAL = 0.3  # autocorrelation from which a lag is called a season
MOST_ROWS = 20_000  # that the season is looked for in
FEWEST_SEASONS = 3  # that the rows must hold


def series_findings(series: Series, season: int | None) -> Iterator[Finding]:
    """Look at each column of the series, in the order of the rows.

    Args:
        series: the rows.
        season: `data.season`, the rows of a season, if it is set.
    """
    for name, values in zip(series.columns, series.values.T.astype(np.float64), strict=True):
        if np.ptp(values) == 0:
            yield Finding(What.CONSTANT, name, f"only {values[0]:g}", "leave it out with data.columns")
            continue
        yield from _stuck(name, values)
        yield from far_from_middle(name, values, lambda row: f"row {row + 1}")
    first = slice(0, min(int(series.offsets[1]), MOST_ROWS))  # of the first series
    if season is None and (found := _season(series.values[first].astype(np.float64))):
        lag, strength = found
        text = f"rows repeat every {lag} rows (autocorrelation {strength:.2f} of the differences)"
        yield Finding(What.SEASON, "", text, f"data.season={lag} gives the baseline of the last season")


def _stuck(name: str, values: np.ndarray) -> Iterator[Finding]:
    """Find the longest stretch of equal values."""
    changes = np.flatnonzero(np.diff(values) != 0)
    edges = np.concatenate([[-1], changes, [len(values) - 1]])
    lengths = np.diff(edges)
    longest = int(np.argmax(lengths))
    if lengths[longest] >= max(LEAST_STUCK, STUCK * len(values)):
        begin = int(edges[longest]) + 1
        text = f"{values[begin]:g} is repeated in {lengths[longest]:,} rows, from row {begin + 1}"
        yield Finding(What.STUCK, name, text, "make sure that it was measured there")


def _season(values: np.ndarray) -> tuple[int, float] | None:
    """Return the lag of the highest peak of the mean autocorrelation of the differences, [N, C]; None if it is low.

    Differences, since a trend correlates at every lag.
    """
    moved = np.diff(values, axis=0)
    moved = moved[:, moved.std(0) > 0]
    count = len(moved)
    if not moved.size or count < 4 * FEWEST_SEASONS:
        return None
    moved = (moved - moved.mean(0)) / moved.std(0)
    spectrum = np.fft.rfft(moved, 2 * count, axis=0)
    found = (np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[:count] / np.arange(count, 0, -1)[:, None]).mean(1)
    found = found[: count // FEWEST_SEASONS + 1]
    peaks = np.flatnonzero((found[1:-1] > found[:-2]) & (found[1:-1] >= found[2:])) + 1
    peaks = peaks[peaks > 1]
    if not len(peaks):
        return None
    best = found[peaks].max()
    lag = int(peaks[found[peaks] >= 0.95 * best][0])  # not a multiple of it
    return (lag, float(found[lag])) if found[lag] >= SEASONAL else None
