"""Findings about single columns of a table: constants, identifiers, mixed types, missing values, outliers."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from dltrain.data.quality.finding import Finding, What
from dltrain.data.tables.columns import Column, Meaning

MOSTLY = 0.5  # part of a column's values that are numbers, from which texts among them are a mistake
FAR = 5.0  # interquartile ranges outside the middle half, from which a number is an outlier
OVERLAP = 0.95  # part of the missing values of two columns that are in the same rows
DIFFERENT = 0.2  # difference between the shares of missing values in two halves of the target
ENOUGH = 20  # missing values from which patterns are looked for
FEW = 3  # examples in a sentence


def column_findings(frame: Any, columns: Sequence[Column], where: Callable[[int], str]) -> Iterator[Finding]:
    """Look at each column.

    Args:
        frame: the rows, a polars frame.
        columns: what the columns mean.
        where: returns file and row of an index.
    """
    for column in columns:
        values = frame[column.name]
        if column.meaning is Meaning.CONSTANT:
            advice = "it is left out; remove it from the file"
            yield Finding(What.CONSTANT, column.name, f"{column.why}", advice)
        if column.meaning is Meaning.IDENTIFIER:
            yield Finding(What.IDENTIFIER, column.name, f"{column.why}", "it is left out")
        yield from _mixed(values, where)
        if column.meaning is Meaning.NUMBER:
            yield from _outliers(values, where)


def _mixed(values: Any, where: Callable[[int], str]) -> Iterator[Finding]:
    """Find texts in a column that is mostly numbers."""
    import polars as pl

    if values.dtype != pl.String or values.len() == values.null_count():
        return
    numbers = values.str.strip_chars().cast(pl.Float64, strict=False)
    strange = np.flatnonzero((values.is_not_null() & numbers.is_null()).to_numpy())
    if 0 < len(strange) < (1 - MOSTLY) * (values.len() - values.null_count()):
        few = ", ".join(f"{values[int(i)]!r} ({where(int(i))})" for i in strange[:FEW])
        share = 1 - len(strange) / (values.len() - values.null_count())
        yield Finding(
            What.MIXED,
            values.name,
            f"{share:.1%} of its values are numbers, {len(strange):,} are not: {few}",
            "correct them, or name them in data.missing if they stand for a missing value",
        )


def _outliers(values: Any, where: Callable[[int], str]) -> Iterator[Finding]:
    """Find numbers far outside the middle half."""
    import polars as pl

    yield from far_from_middle(values.name, values.cast(pl.Float64, strict=False).to_numpy(), where)


def far_from_middle(name: str, numbers: np.ndarray, where: Callable[[int], str]) -> Iterator[Finding]:
    """Find outliers among the numbers of a column, float64 [N]; NaN is a missing one."""
    finite = numbers[np.isfinite(numbers)]
    if len(finite) < ENOUGH:
        return
    low, middle, high = np.quantile(finite, [0.25, 0.5, 0.75])
    if high <= low:
        return
    far = np.flatnonzero((numbers < low - FAR * (high - low)) | (numbers > high + FAR * (high - low)))
    if len(far):
        worst = far[np.argsort(-np.abs(numbers[far] - middle), kind="stable")][:FEW]
        few = ", ".join(f"{numbers[i]:g} ({where(int(i))})" for i in worst)
        yield Finding(
            What.OUTLIERS,
            name,
            f"{len(far):,} values are far from the middle half ({low:g} to {high:g}): {few}",
            "correct them if they are mistakes",
        )


def missing_findings(frame: Any, columns: Sequence[Column], target: np.ndarray | None) -> Iterator[Finding]:
    """Find columns with missing values, columns that miss them together, and gaps that depend on the target.

    Args:
        frame: the rows, a polars frame.
        columns: what the columns mean.
        target: classes or numbers [N]; None if there is none.
    """
    lost = {c.name: frame[c.name].is_null().to_numpy() for c in columns}
    lost = {name: gaps for name, gaps in lost.items() if gaps.any() and not gaps.all()}
    for name, gaps in lost.items():
        yield Finding(What.MISSING, name, f"{gaps.sum():,} of {len(gaps):,} values are missing ({gaps.mean():.1%})")
    many = {name: gaps for name, gaps in lost.items() if gaps.sum() >= ENOUGH}
    for one, other in combinations(many, 2):
        both, either = (many[one] & many[other]).sum(), (many[one] | many[other]).sum()
        if both >= OVERLAP * either:
            yield Finding(What.MISSING, f"{one}, {other}", f"they are missing in the same rows ({both:,})")
    if target is None or not len(target):
        return
    for name, gaps in many.items():
        yield from _depends(name, gaps, target)


def _depends(name: str, gaps: np.ndarray, target: np.ndarray) -> Iterator[Finding]:
    if np.issubdtype(target.dtype, np.floating):
        low, high = (gaps[half].mean() for half in (target <= np.median(target), target > np.median(target)))
        told = ("of the lower half of the target", "of the upper half")
    else:
        counts = np.bincount(target)
        shares = np.bincount(target, weights=gaps)[counts > 0] / counts[counts > 0]
        low, high, told = shares.min(), shares.max(), ("in one class", "in another")
    if abs(high - low) >= DIFFERENT:
        text = f"{low:.0%} are missing {told[0]}, and {high:.0%} {told[1]}: a gap tells the target"
        yield Finding(What.MISSING, name, text, "make sure that it is missing in the same way at prediction")
