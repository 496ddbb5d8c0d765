"""Values of a column of the data -> what a split needs: groups, points in time, or the splits that it names."""

from typing import Any

import numpy as np

from dltrain.data.description import Where, example
from dltrain.data.split_names import SPLIT_OF
from dltrain.errors import DataError


def groups_of(values: np.ndarray) -> np.ndarray:
    """Number the different values, int [N]; missing ones are a group of their own."""
    return np.unique(np.array([_text(value) for value in values.tolist()]), return_inverse=True)[1]


def times_of(values: np.ndarray, name: str, where: Where = example) -> np.ndarray:
    """Return numbers that rise with time: those of numbers and dates, and of texts that are dates.

    Raises:
        DataError: a value is missing, or is neither a number nor a date.
    """
    lost = np.array([not _text(value) for value in values.tolist()], bool)
    if lost.any():
        raise DataError(
            f"data.time={name}: {int(lost.sum())} values are missing, the first in {where(int(lost.argmax()))}; "
            "remove these rows, or split at random (data.split=random)"
        )
    if values.dtype.kind in "OUS":
        return _dates([_text(value) for value in values.tolist()], name, where)
    return values.astype(np.int64) if values.dtype.kind in "mM" else values


def splits_of(values: np.ndarray, name: str, where: Where = example) -> dict[str, np.ndarray]:
    """Return the indices of validation and test, as far as the column names any.

    Raises:
        DataError: a value is not the name of a split.
    """
    texts = [_text(value).strip().lower() for value in values.tolist()]
    for at, (text, value) in enumerate(zip(texts, values.tolist(), strict=True)):
        if text not in SPLIT_OF:
            shown = repr(value) if text else "nothing"
            raise DataError(
                f"data.split_column={name}: {where(at)} has {shown}; each value must be train, "
                "validation or test (also val, dev, holdout)"
            )
    named = np.array([SPLIT_OF[text] for text in texts])
    found = {split: np.flatnonzero(named == split) for split in ("validation", "test")}
    return {split: indices for split, indices in found.items() if len(indices)}


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _dates(values: list[str], name: str, where: Where) -> np.ndarray:
    import polars as pl

    texts = pl.Series(values)
    numbers = texts.cast(pl.Float64, strict=False)
    if not numbers.null_count():
        return numbers.to_numpy()
    found = []
    for parse in (texts.str.to_datetime, texts.str.to_date):
        try:
            found.append(parse(strict=False).cast(pl.Datetime("us")))
        except pl.exceptions.ComputeError:  # no format was recognised
            continue
    found.sort(key=lambda dates: dates.null_count())
    if found and not found[0].null_count():
        return found[0].cast(pl.Int64).to_numpy()
    strange = found[0].is_null().to_list().index(True) if found else 0
    raise DataError(
        f"data.time={name}: is neither a number nor a date in every row, such as {values[strange]!r} in "
        f"{where(strange)}; write dates as 2024-05-31 or 2024-05-31 18:00"
    )
