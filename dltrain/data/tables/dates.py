"""Dates as numbers: their year, month, day, weekday and time of day."""

from typing import Any

PARTS = ("year", "month", "day", "weekday", "hour", "minute", "second")
"""What a date is made of, and the names of the numbers that stand for it."""


def date_parts(dates: Any, part: str) -> Any:
    """Return a part of dates as float64, null where the date is missing."""
    import polars as pl

    return getattr(dates.dt, part)().cast(pl.Float64)


def varying_parts(dates: Any) -> dict[str, float]:
    """Return the parts that differ between these dates, with their medians."""
    found = {part: date_parts(dates, part) for part in PARTS}
    return {part: float(values.median()) for part, values in found.items() if values.drop_nulls().n_unique() > 1}
