"""Columns of numbers of a file of series: read as float64, missing values filled in, and converted to 32 bits."""

import itertools
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np

from dltrain.data.preprocess.offset import narrowed
from dltrain.data.tables.raw import Raw
from dltrain.errors import DataError

MOSTLY = 0.5  # part of a column's values that are numbers, from which the others are mistakes


class Fill(StrEnum):
    """What takes the place of a missing value."""

    FFILL = "ffill"  # the last value before it
    INTERPOLATE = "interpolate"  # the line between the values before and after it


def is_numeric(raw: Raw, name: str) -> bool:
    """Tell whether a column holds numbers; DataError if most of its values do, but not all."""
    import polars as pl

    column = raw.frame[name]
    if column.dtype.is_numeric():
        return True
    if column.dtype != pl.String:
        return False
    numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
    present = len(column) - column.null_count()
    if not present or len(numbers) - numbers.null_count() < MOSTLY * present:
        return False
    bad = int((numbers.is_null() & column.is_not_null()).arg_max())
    raise DataError(
        f"{raw.files[0]}: row {raw.rows[bad]}, column {name}: {column[bad]!r} is not a number, as the others of "
        "this column are; correct it, or choose other columns (data.columns)"
    )


def read_values(raw: Raw, names: Sequence[str], order: np.ndarray) -> np.ndarray:
    """Return columns as float64 [N, C], NaN where missing; `order` has the index of each row that is returned."""
    import polars as pl

    frame, path = raw.frame, raw.files[0]
    found = np.empty((len(order), len(names)))
    for i, name in enumerate(names):
        numbers = frame[name] if frame[name].dtype.is_numeric() else frame[name].cast(pl.String)
        values = numbers.cast(pl.Float64, strict=False)
        if values.null_count() > numbers.null_count():
            bad = int((values.is_null() & numbers.is_not_null()).arg_max())
            raise DataError(f"{path}: row {raw.rows[bad]}, column {name}: {numbers[bad]!r} is not a number")
        found[:, i] = values.to_numpy()[order]
    if np.isinf(found).any():
        row, column = np.argwhere(np.isinf(found))[0]
        raise DataError(
            f"{path}: row {raw.rows[order[row]]}, column {names[column]}: {found[row, column]} is not finite"
        )
    return found


def fill_in(
    values: np.ndarray,
    names: Sequence[str],
    offsets: np.ndarray,
    line: np.ndarray,
    fill: Fill | None,
    path: Path,
) -> list[str]:
    """Fill in missing values in place, series by series; return what was done."""
    missing = np.isnan(values)
    if not missing.any():
        return []
    row, column = np.argwhere(missing)[0]
    counts = ", ".join(f"{name} {count}" for name, count in zip(names, missing.sum(0), strict=True) if count)
    if fill is None:
        raise DataError(
            f"{path}: row {line[row]}, column {names[column]}: no value ({missing.sum()} are missing: {counts}); "
            "data.fill=ffill takes the value before, data.fill=interpolate the line between those before and after"
        )
    for low, high in itertools.pairwise(offsets):
        for i in np.flatnonzero(missing[low:high].any(0)):
            part, lost = values[low:high, i], missing[low:high, i]
            there = np.flatnonzero(~lost)
            if not len(there) or (fill is Fill.FFILL and there[0] > 0):
                raise DataError(
                    f"{path}: row {line[low]}, column {names[i]}: the series begins without a value, so "
                    f"data.fill={fill} has none to take; leave out these rows"
                )
            if fill is Fill.FFILL:
                part[:] = part[np.maximum.accumulate(np.where(lost, 0, np.arange(len(part))))]
            else:
                part[lost] = np.interp(np.flatnonzero(lost), there, part[there])
    ahead = "; a value before a gap was computed from one after it" if fill is Fill.INTERPOLATE else ""
    return [f"{missing.sum()} missing values were filled in (data.fill={fill}): {counts}{ahead}"]


def to_32_bits(values: np.ndarray, names: Sequence[str], line: np.ndarray, path: Path) -> np.ndarray:
    found = narrowed(values) if values.size else values.astype(np.float32)
    if not np.isfinite(found).all():
        row, column = np.argwhere(~np.isfinite(found))[0]
        raise DataError(
            f"{path}: row {line[row]}, column {names[column]}: {values[row, column]:g} is beyond the range of "
            "float32"
        )
    return found
