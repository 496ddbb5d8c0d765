"""The times of the rows of a series: their format, their order, their steps, and features of the calendar."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dltrain.errors import ConfigError, DataError

FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%Y%m%d",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%Y-%m",
    "%Y/%m",
    "%Y",
)
"""Formats that are tried in turn (Chrono's notation, which is that of strftime)."""

CALENDAR = ("hour", "weekday", "month")
HOUR, DAY = 3600 * 10**6, 24 * 3600 * 10**6  # microseconds


def parse_times(column: Any, *, time_format: str | None, where: str, line: np.ndarray) -> np.ndarray:
    """Return the times of a polars column: microseconds since 1970, or the whole numbers of the file; int64 [N].

    Args:
        column: texts, dates, or whole numbers, which are taken for numbers of steps.
        time_format: how the texts are written (%Y-%m-%d); None: the first of `FORMATS` that fits all of them.
        where: file and key, for messages.
        line: line of each row in the file.

    Raises:
        ConfigError: two formats fit that differ in the order of day and month.
        DataError: a time is missing or cannot be read.
    """
    import polars as pl

    if column.null_count():
        raise DataError(f"{where}: row {line[int(column.is_null().arg_max())]} has no time")
    if column.dtype.is_temporal():
        return column.cast(pl.Datetime("us")).cast(pl.Int64).to_numpy()
    if column.dtype.is_integer() and time_format is None:
        return column.cast(pl.Int64).to_numpy()
    texts = column.cast(pl.String).str.strip_chars()
    formats = FORMATS if time_format is None else (time_format,)
    fitting = [name for name in formats if _parsed(texts.head(100), name).null_count() == 0]
    fitting = [name for name in fitting if _parsed(texts, name).null_count() == 0]
    if not fitting:
        bad = _furthest(texts, formats)
        expected = time_format or "such as 2024-03-01 13:00:00, 2024-03-01 or 2024-03"
        raise DataError(
            f"{where}: row {line[bad]}: {texts[bad]!r} is not a time, expected {expected}; data.time_format says "
            "how times are written"
        )
    found = _parsed(texts, fitting[0])
    for other in fitting[1:]:
        if {fitting[0][:2], other[:2]} == {"%d", "%m"} and (_parsed(texts, other) != found).any():
            raise ConfigError(
                f"{where}: {texts[0]!r} may be {fitting[0]} or {other}; set data.time_format to one of them"
            )
    return found.cast(pl.Int64).to_numpy()


def _parsed(texts: Any, how: str) -> Any:
    """Parse texts; null where that fails. Years and months are completed by a first day."""
    import polars as pl

    completed = {"%Y-%m": ("-01", "-%d"), "%Y/%m": ("/01", "/%d"), "%Y": ("-01-01", "-%m-%d")}
    text, more = completed.get(how, ("", ""))
    short = {"%Y": 4, "%Y%m%d": 8}.get(how)  # other digits would be read as years
    if short and (texts.str.len_chars() != short).any():
        return pl.Series([None] * len(texts), dtype=pl.Datetime("us"))
    dated = "%H" not in how
    found = (texts + text).str.strptime(pl.Date if dated else pl.Datetime("us"), how + more, strict=False)
    return found.cast(pl.Datetime("us"))


def _furthest(texts: Any, formats: Sequence[str]) -> int:
    """Return the row that cannot be read in the format that fits most of the first rows."""
    head = texts.head(1000)
    best = min(formats, key=lambda how: _parsed(head, how).null_count())
    return int(_parsed(texts, best).is_null().arg_max())


def check_order(times: np.ndarray, *, where: str, line: np.ndarray, who: str = "") -> None:
    """Raise DataError unless the times of one series increase, naming the first row that does not follow."""
    bad = np.flatnonzero(np.diff(times) <= 0)
    if not len(bad):
        return
    first, second = line[bad[0]], line[bad[0] + 1]
    if times[bad[0]] == times[bad[0] + 1]:
        raise DataError(
            f"{where}: rows {first} and {second}{who} have the same time; keep one of them, or name the "
            "column that tells several series apart (data.id)"
        )
    raise DataError(
        f"{where}: row {second}{who} is earlier than row {first} before it; data.sort=true sorts the rows by time"
    )


def irregular(times: np.ndarray, *, dated: bool) -> np.ndarray:
    """Return the rows, int [n], that do not come one step after the row before; a step may be months or years."""
    if len(times) < 3:
        return np.zeros(0, int)
    steps = np.diff(times)
    found = _odd(steps)
    if len(found) and dated:  # months and years differ in length
        dates = times.astype("datetime64[us]")
        months = dates.astype("datetime64[M]")
        inside = (dates - months).astype(np.int64)
        if (inside == inside[0]).all():
            found = _odd(np.diff(months.astype(np.int64)))
    return found + 1


def following(times: np.ndarray, count: int, *, dated: bool) -> np.ndarray:
    """Continue the times of a series by its most frequent step, int64 [count]; a step may be months or years."""
    steps = np.arange(1, count + 1)
    if len(times) < 2:
        return times[-1] + steps
    if dated:
        dates = times.astype("datetime64[us]")
        months = dates.astype("datetime64[M]")
        inside, between = (dates - months).astype(np.int64), np.diff(months.astype(np.int64))
        if (inside == inside[0]).all() and between.min() > 0:
            later = months[-1] + steps * _most_frequent(between)
            return (later.astype("datetime64[us]") + inside[-1]).astype(np.int64)
    return times[-1] + steps * _most_frequent(np.diff(times))


def _most_frequent(values: np.ndarray) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[np.argmax(counts)])


def _odd(steps: np.ndarray) -> np.ndarray:
    return np.flatnonzero(steps != _most_frequent(steps))


def calendar_features(times: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Return names and values, float32 [N, K], of hour, weekday and month, each evenly from -0.5 to 0.5.

    The hour is left out if steps are a day or more, the weekday if they are a week or more (as in Zhou et al. 2021,
    Informer). Times are microseconds since 1970.
    """
    dates = times.astype("datetime64[us]")
    days, months = dates.astype("datetime64[D]"), dates.astype("datetime64[M]")
    step = int(np.median(np.diff(times))) if len(times) > 1 else 0
    hour = (dates - days).astype(np.int64) / DAY * 24 / 23 - 0.5
    weekday = (days.astype(np.int64) + 3) % 7 / 6 - 0.5  # 1970-01-01 was a Thursday; Monday is -0.5
    month = months.astype(np.int64) % 12 / 11 - 0.5
    columns = {"hour": np.minimum(hour, 0.5), "weekday": weekday, "month": month}
    left_out = {"hour": step >= DAY, "weekday": step >= 7 * DAY, "month": False}
    kept = [name for name in CALENDAR if not left_out[name]]
    return tuple(kept), np.stack([columns[name] for name in kept], 1).astype(np.float32)
