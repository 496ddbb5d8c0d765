"""Numbers typed into the YAML: small enough to check an update rule by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dltrain.data.check import check_weights
from dltrain.data.preprocess.offset import narrowed
from dltrain.data.sources.rows import Rows, make_rows
from dltrain.errors import DataError
from dltrain.types import Kind

LARGEST = float(np.finfo(np.float32).max)


def make_table(
    inputs: Sequence[Any],
    targets: Sequence[Any],
    *,
    task: Any = None,
    weights: Sequence[Any] | None = None,
) -> Rows:
    """Make a table of a few rows; without a published split.

    Args:
        inputs: a list of rows, or of numbers (one column).
        targets: for a regression a list of rows or of numbers, else a list of labels 0, 1, 2, ...
        task: whether the targets are labels or numbers; None for numbers. The classes are 0 to the largest label,
            named by their numbers.
        weights: how much each row counts in the loss, 0 or more; None for all the same. Metrics ignore weights.

    Raises:
        DataError: rows of different lengths, something that is not a finite number, other labels, or a weight
            below 0; the message names the row.
    """
    x, y = _table(inputs, "data.inputs"), _table(targets, "data.targets")
    arrays = {"inputs": x, "targets": y}
    if weights is not None:
        arrays["weights"] = _weights(weights)
    for part, array in arrays.items():
        if len(array) != len(x):
            raise DataError(
                f"data.inputs has {len(x)} rows, data.{part} has {len(array)}; the numbers must be equal"
            )
    classes: tuple[str, ...] = ()
    if task is not None and task.target_kind is Kind.CATEGORY:
        arrays["targets"] = y = _labels(y)
        classes = tuple(map(str, range(max(2, y.max() + 1))))
    return make_rows(
        arrays,
        kind=Kind.NUMBERS,
        classes=classes,
        features=_names("x", x.shape[1]),
        target_names=() if classes else _names("y", y.shape[1]),
    )


def _table(rows: Sequence[Any], key: str) -> np.ndarray:
    """Convert rows or single numbers to float32 [N, F]; to float64 where float32 cannot tell them apart."""
    if not len(rows):
        raise DataError(f"{key}: is empty")
    width = len(rows[0]) if _is_row(rows[0]) else None
    table = []
    for number, row in enumerate(rows):
        found = len(row) if _is_row(row) else None
        if found != width or found == 0:
            wanted = "a number" if width is None else f"{width or 'some'} numbers"
            raise DataError(f"{key}: row {number} is {row!r}, expected {wanted} as in row 0")
        table.append(list(row) if _is_row(row) else [row])
        for value in table[-1]:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise DataError(f"{key}: row {number} holds {value!r}, expected a number")
            if not abs(value) <= LARGEST:  # false for nan too
                raise DataError(f"{key}: row {number} holds {value!r}, expected a finite number that fits float32")
    return narrowed(np.asarray(table, np.float64))


def _is_row(row: Any) -> bool:
    return isinstance(row, Sequence) and not isinstance(row, str)


def _labels(table: np.ndarray) -> np.ndarray:
    """Convert a column of labels to int32 [N]."""
    most = 9999  # so that a typing error does not make a million classes
    if table.shape[1] != 1:
        raise DataError(f"data.targets: classes need one label per row, found {table.shape[1]} numbers")
    values = table[:, 0]
    bad = np.flatnonzero((values != np.floor(values)) | (values < 0) | (values > most))
    if len(bad):
        raise DataError(f"data.targets: row {bad[0]} is {values[bad[0]]:g}, expected a label, 0..{most}")
    return values.astype(np.int32)


def _weights(weights: Sequence[float]) -> np.ndarray:
    """Convert one number per row to float32 [N]."""
    table = _table(weights, "data.weights")
    if table.shape[1] != 1:
        raise DataError(f"data.weights: row 0 is {weights[0]!r}, expected a number")
    check_weights(table[:, 0], name="data.weights", some=True)
    return table[:, 0]


def _names(letter: str, columns: int) -> tuple[str, ...]:
    return (letter,) if columns == 1 else tuple(f"{letter}{i}" for i in range(1, columns + 1))
