"""The values of one column, given later -> numbers, dates, texts and levels, as those of the file were read."""

from typing import Any

import numpy as np

from dltrain.data.bad import Problem, quoted
from dltrain.data.tables.convert import Kind, apply_kind
from dltrain.errors import DataError


def levels_of(values: Any) -> Any:
    """Return a column as the texts of its levels: whole numbers without a decimal point."""
    import polars as pl

    if values.dtype.is_float():
        whole = (values == values.round()).fill_null(False) & (values.abs() < 2**53).fill_null(False)
        return values.set(~whole, None).cast(pl.Int64).cast(pl.String).zip_with(whole, values.cast(pl.String))
    return values.cast(pl.String)


def numbers_of(values: Any, sign: str) -> Any:
    """Return a column as float64, null for what is not finite; DataError for a text that is not a number."""
    import polars as pl

    if values.dtype == pl.String:
        values = _read_as(values, Kind("number", sign))
    if values.dtype == pl.Null or values.dtype.is_numeric() or values.dtype == pl.Boolean:
        values = values.cast(pl.Float64)
        limit = float(np.finfo(np.float32).max)
        return values.set(~(values.is_finite() & (values.abs() <= limit)).fill_null(False), None)
    raise DataError(f"inputs: column {values.name}: found {values.dtype} values, expected numbers")


def dates_of(values: Any, format: str) -> Any:
    """Return a column as dates; DataError for a text that is none."""
    import polars as pl

    if values.dtype == pl.String:
        values = _read_as(values, Kind("date", format or "%Y-%m-%d"))
    if values.dtype == pl.Null or values.dtype == pl.Date:
        return values.cast(pl.Datetime("us"))
    if isinstance(values.dtype, pl.Datetime):
        return values.dt.replace_time_zone(None)
    raise DataError(f"inputs: column {values.name}: found {values.dtype} values, expected dates")


def problems_of(values: Any, kind: Kind) -> dict[int, Problem]:
    """Return what is wrong with texts of a column that do not stand for such values, by their places."""
    import polars as pl

    if values.dtype != pl.String:
        return {}
    _, wrong = apply_kind(values.str.strip_chars(), kind)
    return {i: Problem(values.name, f"found {quoted(text)}, expected {kind.expected}") for i, text in wrong}


def _read_as(values: Any, kind: Kind) -> Any:
    found, wrong = apply_kind(values.str.strip_chars(), kind)
    if wrong:
        index, text = wrong[0]
        raise DataError(
            f"inputs: column {values.name}, index {index}: found {quoted(text)}, expected {kind.expected}"
        )
    return found


def texts_of(values: Any) -> list[str | None]:
    import polars as pl

    return values.cast(pl.String).to_list()
