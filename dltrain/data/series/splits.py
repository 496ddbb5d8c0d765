"""Windows of series: where each begins, split by time so that no split sees what a later one predicts."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dltrain.data.split import NAMES
from dltrain.errors import ConfigError, DataError
from dltrain.ranges import Count

Border = Count | str
"""A row (step) of the series, counted from 0, or a date; the split ends before it."""


@dataclass(frozen=True)
class Cut:
    """How series are cut into windows.

    Attributes:
        look_back: rows that a model is given.
        horizon: rows after these, which it predicts.
        stride: rows from the start of a training window to the start of the next.
    """

    look_back: int
    horizon: int
    stride: int = 1


def border_steps(times: np.ndarray, *, validation: float, test: float) -> tuple[int, int, int]:
    """Return where train, validation and test end: test is a fraction of all steps, validation of the rest."""
    held = len(times)
    last = held - round(held * test)
    return last - round(last * validation), last, held


def given_borders(borders: Sequence[Border], times: np.ndarray, *, dated: bool) -> tuple[int, int, int]:
    """Return where train, validation and test end, in steps.

    Raises:
        ConfigError: there are not three borders, they decrease, or are beyond the data.
    """
    key = f"data.borders={list(borders)}"
    if len(borders) != 3:
        raise ConfigError(f"{key}: expected three, the ends of train, validation and test: [8640, 11520, 14400]")
    steps = [border if isinstance(border, int) else _step_of(border, times, key, dated) for border in borders]
    if not 0 < steps[0] <= steps[1] <= steps[2]:
        raise ConfigError(f"{key}: each border must be at or after the one before")
    if steps[2] > len(times):
        raise ConfigError(f"{key}: the data has {len(times)} steps")
    return steps[0], steps[1], steps[2]


def _step_of(border: str, times: np.ndarray, key: str, dated: bool) -> int:
    if not dated:
        raise ConfigError(f"{key}: {border!r} is a date, and the rows have none (data.time); give numbers of steps")
    try:
        at = np.datetime64(border, "us").astype(np.int64)
    except ValueError as error:
        raise ConfigError(f"{key}: {border!r} is not a date, expected such as 2018-03-01") from error
    return int(np.searchsorted(times, at))


def starts_of(
    cut: Cut, offsets: np.ndarray, times: np.ndarray, steps: np.ndarray, borders: tuple[int, int, int]
) -> dict[str, np.ndarray]:
    """Return the first row of each window, int64, by split.

    A window belongs to the split that holds all of its horizon. What it is given may begin before the split: one
    look-back, as in the published protocol of ETT (Zhou et al. 2021). Windows of train lie wholly in train.

    Args:
        cut: lengths of the windows.
        offsets: where each series begins, int [S + 1].
        times: time of each row.
        steps: the distinct times, in order.
        borders: where train, validation and test end, in steps.
    """
    ends = [int(steps[border]) if border < len(steps) else None for border in borders]
    found: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
    for low, high in itertools.pairwise(offsets):
        mine, first = times[low:high], int(low)
        for name, end in zip(NAMES, ends, strict=True):
            last = int(low + (len(mine) if end is None else np.searchsorted(mine, end)))
            begin = max(first, int(low) + cut.look_back)
            stride = cut.stride if name == "train" else 1
            found[name].append(np.arange(begin, last - cut.horizon + 1, stride) - cut.look_back)
            first = last
    return {name: np.concatenate(parts).astype(np.int64) for name, parts in found.items()}


def check_counts(starts: dict[str, np.ndarray], wanted: dict[str, bool], cut: Cut, steps: int, where: str) -> None:
    """Raise DataError if a split that is wanted has no window."""
    for name, starts_here in starts.items():
        if wanted[name] and not len(starts_here):
            raise DataError(
                f"{where}: {name} has no window of data.look_back={cut.look_back} and data.horizon={cut.horizon} "
                f"rows ({steps} steps in the whole data); try smaller ones, or other fractions (data.validation, "
                "data.test)"
            )
