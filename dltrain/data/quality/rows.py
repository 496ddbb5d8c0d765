"""Findings about whole rows: duplicates, near-duplicates, test rows in train, train rows after test rows."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from dltrain.data.quality.finding import Finding, What
from dltrain.data.split import Splits
from dltrain.data.tables.columns import Column, Meaning

STEPS = 100  # into which a standard deviation is divided: numbers in one of them are about equal
BY_CHANCE = 2  # times as many near-duplicates as in shuffled columns, from which they are not an accident
FEW = 3  # pairs in a sentence
LATER = 0.1  # part of the train rows that may be later than the first test row


def row_findings(
    frame: Any, columns: Sequence[Column], splits: Splits, where: Callable[[int], str]
) -> Iterator[Finding]:
    """Compare rows by the columns that a model is given.

    Args:
        frame: the rows, a polars frame.
        columns: what the columns mean; identifiers are left out.
        splits: the splits.
        where: returns file and row of an index.
    """
    names = [column.name for column in columns if column.meaning.is_input]
    if not names:
        return
    exact = _first_equal(frame.select(names))
    split = np.full(len(frame), -1)
    for number, name in enumerate(("train", "validation", "test")):
        split[splits[name]] = number
    again = np.flatnonzero(exact != np.arange(len(frame)))
    if len(again):
        shown = _pairs(exact, again, where)
        yield Finding(What.DUPLICATES, "", f"{len(again):,} rows equal an earlier one: {shown}", "remove them")
    train = np.isin(exact, exact[splits.train])
    if len(both := np.flatnonzero(train & (split == 2))):
        first = {int(exact[i]): int(i) for i in splits.train[::-1]}
        pairs = np.array([first[int(exact[i])] for i in both])
        shown = ", ".join(f"{where(int(i))} as {where(int(j))}" for i, j in zip(both[:FEW], pairs, strict=False))
        text = f"{len(both):,} of {len(splits.test):,} test rows are also in train: {shown}"
        yield Finding(What.TEST_IN_TRAIN, "", text, "remove duplicates, or keep them together with data.group")
    rounded = _rounded(frame.select(names))
    near = _first_equal(rounded)
    close = np.flatnonzero((near != np.arange(len(frame))) & (exact == np.arange(len(frame))))
    if len(close) > BY_CHANCE * _equal_by_chance(rounded):
        text = f"{len(close):,} rows nearly equal an earlier one: {_pairs(near, close, where)}"
        yield Finding(What.NEAR_DUPLICATES, "", text, "keep versions of one thing in one split with data.group")


def date_findings(frame: Any, columns: Sequence[Column], splits: Splits) -> Iterator[Finding]:
    """Find dates of train rows that are later than those of test rows: a model would know the future."""
    import polars as pl

    for column in columns:
        if column.meaning is not Meaning.DATE or not len(splits.test):
            continue
        times = frame[column.name].cast(pl.Datetime("us"), strict=False)
        first = times[splits.test].min()
        later = (times[splits.train] > first).sum() if first is not None else 0
        if later > LATER * len(splits.train):
            text = f"{later:,} of {len(splits.train):,} train rows are later than the first test row ({first})"
            yield Finding(What.DATES, column.name, text, f"to predict the future: data.time={column.name}")


def _first_equal(frame: Any) -> np.ndarray:
    """Return for each row the first row with the same values, int [N]."""
    import polars as pl

    index = frame.with_row_index("\0row")
    names = frame.columns
    return index.select(pl.col("\0row").min().over(names)).to_series().to_numpy().astype(np.int64)


def _rounded(frame: Any) -> Any:
    """Round numbers to a hundredth of their standard deviation, and reduce texts to letters and digits."""
    import polars as pl

    found = []
    for name in frame.columns:
        column, kind = pl.col(name), frame[name].dtype
        if kind.is_numeric():
            step = float(frame[name].cast(pl.Float64).std() or 0) / STEPS
            found.append((column.cast(pl.Float64) / step).round(0) if step > 0 else column)
        elif kind == pl.String:
            found.append(column.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", ""))
        else:
            found.append(column)
    return frame.select(found)


def _equal_by_chance(frame: Any) -> int:
    """Count rows that equal an earlier one once the columns are shuffled, each on its own."""
    shuffled = frame.with_columns(frame[name].shuffle(seed=i) for i, name in enumerate(frame.columns))
    return int((_first_equal(shuffled) != np.arange(len(frame))).sum())


def _pairs(first: np.ndarray, again: np.ndarray, where: Callable[[int], str]) -> str:
    shown = [f"{where(int(i))} as {where(int(first[i]))}" for i in again[:FEW]]
    return ", ".join(shown) + ", ..." * (len(again) > FEW)
