"""Reads a file of series: columns, times and identifiers, checked; fills in missing values where that is wanted."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.series.columns import Fill, fill_in, is_numeric, read_values, to_32_bits
from dltrain.data.series.times import calendar_features, check_order, irregular, parse_times
from dltrain.data.sources.files import check_file
from dltrain.data.tables import options as tables
from dltrain.data.tables.raw import Raw
from dltrain.data.tables.read import instead_of, read_rows
from dltrain.errors import ConfigError, DataError

LARGEST = 1 << 36  # bytes of a file
MISSING = (*tables.MISSING, "nan")


class Irregular(StrEnum):
    """What happens if the steps between rows differ."""

    REPORT = "report"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Layout:
    """The columns of a file, by what they are for.

    Attributes:
        time: column of the time; None: rows follow one another in steps of one.
        time_format: how times are written; None: one of the usual formats.
        id: column that tells several series apart; None: one series.
        columns: inputs; None: every column of numbers.
        target: predicted columns; None: all inputs.
        known: columns that are known in advance, also for the horizon.
        calendar: whether features of the calendar are added to these.
        fill: what takes the place of missing values; None: they are refused.
        sort: whether rows are sorted by time; else rows out of order are refused.
        irregular: what happens if the steps between rows differ.
    """

    time: str | None
    time_format: str | None
    id: str | None
    columns: tuple[str, ...] | None
    target: tuple[str, ...] | None
    known: tuple[str, ...]
    calendar: bool
    fill: Fill | None
    sort: bool
    irregular: Irregular


@dataclass(frozen=True, eq=False)
class Series:
    """One or several series, one after the other.

    Attributes:
        values: the columns of inputs and targets, float [N, C].
        columns: their names.
        known: what is known in advance, float [N, K].
        known_names: its names.
        times: of each row: microseconds since 1970, or numbers of steps; int64 [N].
        dated: whether the times are dates.
        offsets: where each series begins, and N; int64 [S + 1].
        ids: the name of each series.
        inputs: names of the columns that a model is given.
        target: names of the columns that it predicts.
        notes: what was found and done, for people.
    """

    values: np.ndarray
    columns: tuple[str, ...]
    known: np.ndarray
    known_names: tuple[str, ...]
    times: np.ndarray
    dated: bool
    offsets: np.ndarray
    ids: tuple[str, ...]
    inputs: tuple[str, ...]
    target: tuple[str, ...]
    notes: tuple[str, ...]


def read_series(path: Path, layout: Layout) -> Series:
    """Read a file, or take what was read of it before.

    Raises:
        ConfigError: a calendar is wanted without dates.
        DataError: the file cannot be read, a column does not exist, or rows do not fit; the message names the row.
    """
    check_file(path, most=LARGEST)
    found = path.stat()
    return _read(path, layout, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=2)  # read once to find the task, and once to train
def _read(path: Path, layout: Layout, size: int, changed: int) -> Series:
    del size, changed
    raw = read_rows(path, missing=MISSING)
    line = raw.rows  # as the file counts them
    _check_names(raw.frame, layout, path)
    order, offsets, ids, times, dated, notes = rows_in_order(raw, layout, path)
    line = line[order]
    inputs, target, left_out = _columns(raw, layout, path)
    notes += left_out
    columns = (*inputs, *(name for name in target if name not in inputs))
    values = read_values(raw, columns, order)
    known = read_values(raw, layout.known, order)
    for array, names in ((values, columns), (known, layout.known)):
        notes += fill_in(array, names, offsets, line, layout.fill, path)
    known_names = layout.known
    if layout.calendar:
        if not dated:
            raise ConfigError("data.calendar=true: needs dates; name their column with data.time")
        names, features = calendar_features(times)
        known, known_names = np.concatenate([known, features], 1), (*known_names, *names)
    arrays = to_32_bits(values, columns, line, path), to_32_bits(known, known_names, line, path)
    return Series(
        arrays[0], columns, arrays[1], known_names, times, dated, offsets, ids, inputs, target, tuple(notes)
    )


def rows_in_order(
    raw: Raw, layout: Layout, path: Path
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], np.ndarray, bool, list[str]]:
    """Return the order of the rows by series, where each begins, their names and times, and what was found.

    Returns:
        The index of each row, int [N]; the first row of each series, and N; the names of the series; the time of
        each row in this order; whether these are dates; and notes for people.

    Raises:
        DataError: a time cannot be read, or rows are out of order.
    """
    frame, line = raw.frame, raw.rows
    times, dated, notes = np.arange(len(frame)), False, []
    if layout.time is not None:
        where = f"{path}: {layout.time}"
        times = parse_times(frame[layout.time], time_format=layout.time_format, where=where, line=line)
        dated = not frame[layout.time].dtype.is_integer() or layout.time_format is not None
    order, offsets, ids = _grouped(raw, layout, times, path)
    times, line = times[order], line[order]
    if layout.time is not None:
        notes = _check_times(times, line, offsets, ids, layout, path, dated=dated)
    return order, offsets, ids, times, dated, notes


def _check_names(frame: Any, layout: Layout, path: Path) -> None:
    named = {
        "time": [layout.time] if layout.time else [],
        "id": [layout.id] if layout.id else [],
        "columns": layout.columns or (),
        "target": layout.target or (),
        "known": layout.known,
    }
    for key, names in named.items():
        for name in names:
            if name not in frame.columns:
                raise DataError(f"{path}: has no column {name} (data.{key}){instead_of(name, frame.columns)}")


def _grouped(raw: Raw, layout: Layout, times: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray, tuple]:
    """Return the order of the rows by series (and by time, if they are to be sorted), and where each begins."""
    frame = raw.frame
    codes, ids = np.zeros(len(frame), np.int64), ("",)
    if layout.id is not None:
        column = frame[layout.id].cast(str)
        if column.null_count():
            raise DataError(f"{path}: row {raw.rows[int(column.is_null().arg_max())]} has no {layout.id} (data.id)")
        names = column.unique(maintain_order=True)
        numbers = {name: i for i, name in enumerate(names)}
        codes, ids = np.array([numbers[name] for name in column], np.int64), tuple(names)
    order = np.lexsort((times, codes)) if layout.sort else np.argsort(codes, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(ids)))])
    return order, offsets, ids


def _check_times(
    times: np.ndarray,
    line: np.ndarray,
    offsets: np.ndarray,
    ids: tuple[str, ...],
    layout: Layout,
    path: Path,
    *,
    dated: bool,
) -> list[str]:
    where, count, first = f"{path}: {layout.time}", 0, 0
    for name, low, high in zip(ids, offsets[:-1], offsets[1:], strict=True):
        who = f" ({layout.id} {name})" if layout.id else ""
        check_order(times[low:high], where=where, line=line[low:high], who=who)
        odd = irregular(times[low:high], dated=dated)
        if len(odd) and not count:
            first = int(line[low + odd[0]])
        count += len(odd)
    if not count:
        return []
    found = f"{count} row{'s' * (count > 1)} do not come one step after the row before, first row {first}"
    if layout.irregular is Irregular.REFUSE:
        raise DataError(f"{where}: {found}; add the missing rows, or set data.irregular=report")
    return [f"{layout.time}: {found}; windows take rows as if they were one step apart"]


def _columns(raw: Raw, layout: Layout, path: Path) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """Return the names of inputs and targets, and what is left out."""
    frame = raw.frame
    taken = {layout.time, layout.id, *layout.known}
    if layout.columns is not None:
        inputs, left_out = layout.columns, []
    else:
        others = [name for name in frame.columns if name not in taken]
        left_out = [name for name in others if not is_numeric(raw, name)]
        inputs = tuple(name for name in others if name not in left_out)
        if not inputs:
            raise DataError(f"{path}: has no column of numbers (columns: {', '.join(frame.columns)})")
    notes = [f"left out, since they are not numbers: {', '.join(left_out)}"] if left_out else []
    return inputs, layout.target or inputs, notes
