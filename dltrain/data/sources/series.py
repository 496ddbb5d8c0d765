"""Your own time series in a file, one row per time step: from windows of the past the next rows are predicted."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dltrain.data.series.columns import Fill
from dltrain.data.series.encode import SeriesEncoder
from dltrain.data.series.read import Irregular, Layout, read_series
from dltrain.data.series.splits import Border, Cut, border_steps, check_counts, given_borders, starts_of
from dltrain.data.series.windows import Windows
from dltrain.errors import ConfigError
from dltrain.ranges import BelowOne, Size

Names = str | Sequence[str] | None


def load_series(
    path: str | None = None,
    *,
    root: str | None = None,
    time: str | None = None,
    time_format: str | None = None,
    id: str | None = None,
    columns: Names = None,
    target: Names = None,
    known: Names = None,
    calendar: bool = False,
    look_back: Size = 96,
    horizon: Size = 24,
    stride: Size = 1,
    season: Size | None = None,
    borders: Sequence[Border] | None = None,
    fill: Fill | None = None,
    sort: bool = False,
    irregular: Irregular = Irregular.REPORT,
    validation: BelowOne = 0.1,
    test: BelowOne = 0.2,
) -> Windows:
    """Read series, and cut them into windows; train is first in time, then validation, then test.

    Args:
        path: the file with a header: CSV, TSV, Parquet or JSON lines.
        root: folder of the file, if `path` is relative.
        time: column of the time; None: rows follow one another in steps of one.
        time_format: how times are written, as in %d.%m.%Y; None: one of the usual formats.
        id: column that tells several series apart; no window has rows of two.
        columns: columns that a model is given; None: every column of numbers.
        target: columns that it predicts; None: all of `columns`.
        known: columns known in advance, such as holidays or prices, which a model is also given for the horizon.
        calendar: whether hour, weekday and month are added to these.
        look_back: rows that a model is given.
        horizon: rows that it predicts.
        stride: rows from the start of a training window to the start of the next.
        season: rows of a season, for baselines: 12 months, 24 hours.
        borders: ends of train, validation and test, in steps or dates; None: by data.validation and data.test.
        fill: what takes the place of missing values; None: they are refused.
        sort: whether to sort rows by time; else rows out of order are refused.
        irregular: whether steps of different lengths are reported or refused.
        validation: `data.validation`, a fraction of the steps before the test split.
        test: `data.test`, a fraction of all steps.

    Raises:
        ConfigError: a key is missing, or borders do not fit.
        DataError: the file cannot be read, its rows do not fit, or a split has no window.
    """
    if path is None:
        raise ConfigError("data.path: missing; set data.path=FILE, a table with one row per time step")
    file = (Path(root or "").expanduser() / Path(path).expanduser()).absolute()
    layout = Layout(
        time=time,
        time_format=time_format,
        id=id,
        columns=_names(columns),
        target=_names(target),
        known=_names(known) or (),
        calendar=calendar,
        fill=fill,
        sort=sort,
        irregular=irregular,
    )
    series, cut = read_series(file, layout), Cut(look_back, horizon, stride)
    steps = np.unique(series.times)
    ends = border_steps(steps, validation=validation, test=test)
    if borders is not None:
        ends = given_borders(borders, steps, dated=series.dated)
    starts = starts_of(cut, series.offsets, series.times, steps, ends)
    wanted = {"train": True, "validation": ends[1] > ends[0], "test": ends[2] > ends[1]}
    check_counts(starts, wanted, cut, len(steps), str(file))
    windows = Windows(series, starts, cut, path=file, season=season)
    windows.encoder = SeriesEncoder(replace(layout, columns=series.inputs, target=series.target), cut)
    return windows


def _names(names: Names) -> tuple[str, ...] | None:
    return (names,) if isinstance(names, str) else None if names is None else tuple(names)
