"""Your own table: a file with one row per example."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.sources.files import check_file
from dltrain.data.sources.fingerprint import fingerprint
from dltrain.data.sources.rows import Rows
from dltrain.data.tables.columns import NUMERIC_CLASSES, Column, find_columns
from dltrain.data.tables.encode import TableEncoder
from dltrain.errors import ConfigError, DataError
from dltrain.types import Feature, Kind, Spec

LARGEST = 1 << 36  # bytes of a file


class TableSource:
    """The rows of a table, which `encode` turns into arrays once the training rows are known.

    Attributes:
        spec: the targets; what the inputs are depends on the training rows.
        suggestion: the task that suits the target, and why.
        fingerprint: of the content of the columns that are used.
        published: indices of splits that the user fixed.
    """

    def __init__(
        self, frame: Any, *, target: str, task: Any, meanings: Mapping[str, str], unused: Sequence[str] = ()
    ) -> None:
        """Look at the target; `task` is None while it is not decided, `unused` columns are no inputs."""
        self._unused = tuple(unused)
        self._frame, self._target, self._meanings = frame, target, meanings
        self.published: Mapping[str, np.ndarray] = {}
        self.suggestion = _suggest(frame[target])
        classes = task is not None and task.target_kind is Kind.CATEGORY
        self._levels = tuple(map(str, frame[target].unique().sort().to_list())) if classes else ()
        shape, dtype = ((), "int32") if classes else ((1,), "float32")
        kind = Kind.CATEGORY if classes else Kind.NUMBERS
        names = () if classes else (target,)
        feature = Feature(kind, shape, dtype, names=names, vocabulary=self._levels)
        self.spec = Spec({}, {target: feature})
        self.fingerprint = fingerprint(
            {name: frame[name].cast(str).to_numpy().astype(str) for name in frame.columns}
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._frame)

    def read_targets(self) -> np.ndarray:
        """Return the targets, int32 [N] or float32 [N, 1]."""
        values = self._frame[self._target]
        if self._levels:
            numbers = {level: i for i, level in enumerate(self._levels)}
            return np.array([numbers[str(value)] for value in values], np.int32)
        return values.to_numpy().astype(np.float32)[:, None]

    def columns(self, train: np.ndarray) -> list[Column]:
        """Find what the columns mean, from the training rows alone."""
        return find_columns(self._frame[train], self._meanings, skip=[self._target, *self._unused])

    def column(self, name: str) -> np.ndarray:
        """Return the values of a column, [N]: for splits by group, time or name."""
        _check_column(self._frame, name, "column")
        return self._frame[name].to_numpy()

    def encode(self, train: np.ndarray) -> tuple[Rows, TableEncoder]:
        """Fit on the training rows, and return all rows as arrays with what was fitted."""
        encoder = TableEncoder.fit(self._frame[train], self.columns(train))
        if not encoder.features:
            raise DataError("the table has no column that a model could learn from")
        arrays = {"inputs": encoder.encode(self._frame), "targets": self.read_targets()}
        spec = Spec(encoder.features, self.spec.targets)
        return Rows(arrays, spec, self.published), encoder


def load_table(
    path: str | None = None,
    *,
    target: str | None = None,
    task: Any = None,
    columns: Sequence[str] | None = None,
    meanings: Mapping[str, str] | None = None,
    group: str | None = None,
    split_column: str | None = None,
) -> TableSource:
    """Read a table.

    Args:
        path: the file, CSV with a header.
        target: the column to predict.
        task: what to do with it; None while that is not decided.
        columns: names of the columns, for a file without a header.
        meanings: what columns mean (number, category, text, date, identifier, constant), where the guess is wrong.
        group: a column that the splits go by; it is not an input.
        split_column: the same, of the names of splits.

    Raises:
        ConfigError: a key is missing.
        DataError: the file cannot be read, or lacks the target.
    """
    import polars as pl

    if path is None or target is None:
        raise ConfigError(f"data.{'path' if path is None else 'target'}: missing; give the file and its target")
    file = Path(path).expanduser().absolute()
    check_file(file, most=LARGEST)
    frame = pl.read_csv(
        file, has_header=columns is None, new_columns=columns, null_values=["", "NA", "NaN", "null", "?"]
    )
    _check_column(frame, target, "target")
    unused = [name for name in (group, split_column) if name is not None]
    return TableSource(frame, target=target, task=task, meanings=meanings or {}, unused=unused)


def _check_column(frame: Any, name: str, key: str) -> None:
    if name not in frame.columns:
        near = difflib.get_close_matches(name, frame.columns, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise DataError(f"data.{key}={name}: no such column{hint} (columns: {', '.join(frame.columns)})")


def _suggest(values: Any) -> tuple[str, str]:
    distinct = values.n_unique()
    if distinct == 2:
        return "binary", f"{values.name} has two values"
    if not values.dtype.is_numeric():
        return "classification", f"{values.name} is text with {distinct} values"
    if values.dtype.is_integer() and distinct <= NUMERIC_CLASSES:
        return "classification", f"{values.name} has {distinct} whole numbers; task=regression predicts a number"
    return "regression", f"{values.name} is a number"
