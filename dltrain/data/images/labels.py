"""The targets of images from a table: a file name per row, and its class, its labels or its numbers."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from dltrain.data.tables.raw import Raw
from dltrain.data.tables.read import instead_of, read_rows
from dltrain.errors import ConfigError, DataError

FEW = 20  # different whole numbers up to which they are taken for classes


@dataclass(frozen=True)
class Targets:
    """What is known of some images.

    Attributes:
        rows: for each target the index of its image.
        values: int32 [N] classes, int32 [N, K] labels (0 or 1), float32 [N, K] numbers.
        classes: names of the classes or of the labels; empty for numbers.
        columns: names of the numbers.
        suggestion: the task, and why.
    """

    rows: np.ndarray
    values: np.ndarray
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    suggestion: tuple[str, str]


def read_labels(
    path: Path,
    names: Sequence[str],
    *,
    file: str | None,
    target: str | Sequence[str] | None,
    several: bool,
    separator: str | None,
    numbers: bool | None,
) -> Targets:
    """Read the table of targets.

    Args:
        path: CSV or TSV with a header, or Parquet.
        names: the images; a row may name one by its whole path, by its name alone, or without its ending.
        file: the column of file names; None for the first.
        target: the columns of targets; None for all others.
        several: whether an image may have several labels, in several rows or separated.
        separator: between the labels of one row.
        numbers: True: the targets are numbers; False: they are classes; None: the column decides.

    Raises:
        ConfigError: a key does not fit the table.
        DataError: the table cannot be read, or names images that do not exist; names the row.
    """
    raw = read_rows(path)
    frame = raw.frame
    file = file or frame.columns[0]
    wanted = [target] if isinstance(target, str) else list(target or [c for c in frame.columns if c != file])
    for key, column in (("file", file), *(("target", name) for name in wanted)):
        if column not in frame.columns:
            raise ConfigError(f"data.{key}={column}: {path} has no such column{instead_of(column, frame.columns)}")
    if not wanted:
        raise DataError(f"{path}: has only one column, {file}; expected file names and targets")
    for column in (file, *wanted):
        if (lost := frame[column].is_null()).any():
            raise DataError(f"{_place(raw, int(lost.arg_max() or 0))}: {column} is missing")
    rows = _find_images(raw, frame[file].cast(str).to_list(), names)
    if several or separator:
        if len(wanted) > 1:
            raise ConfigError(f"data.target={wanted}: with several labels per image, name one column")
        return _labels(rows, frame[wanted[0]].cast(str).to_list(), separator)
    _check_once(raw, rows, names)
    return _targets(path, frame, wanted, rows, numbers)


def _place(raw: Raw, index: int) -> str:
    """Return the file and the row, for a message."""
    return f"{raw.files[0]}, row {raw.rows[index]}"


def _find_images(raw: Raw, wanted: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Return the index of the image that each row names, int [N]."""
    known: dict[str, int] = {}
    for key in (
        lambda n: n,
        lambda n: n.rsplit(".", 1)[0],
        lambda n: PurePosixPath(n).name,
        lambda n: PurePosixPath(n).stem,
    ):
        found: dict[str, int] = {}
        for i, name in enumerate(names):
            found[key(name)] = -1 if key(name) in found else i
        known = {**found, **known}
    rows = np.empty(len(wanted), np.int64)
    for row, name in enumerate(wanted):
        index = known.get(name.strip().replace("\\", "/").removeprefix("./"))
        if index is None:
            near = difflib.get_close_matches(name, names[:10_000], 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise DataError(f"{_place(raw, row)}: {name}: no such image in data.path{hint}")
        if index < 0:
            raise DataError(f"{_place(raw, row)}: {name}: several images have this name; give the path")
        rows[row] = index
    return rows


def _check_once(raw: Raw, rows: np.ndarray, names: Sequence[str]) -> None:
    order = np.argsort(rows, kind="stable")
    same = np.flatnonzero(np.diff(rows[order]) == 0)
    if len(same):
        first, second = order[same[0]], order[same[0] + 1]
        raise DataError(
            f"{_place(raw, second)}: {names[rows[second]]} is also in row {raw.rows[first]}; keep one row per "
            "image, or set data.several=true if an image may have several labels"
        )


def _labels(rows: np.ndarray, texts: Sequence[str], separator: str | None) -> Targets:
    """Return int32 [N, K]: 1 for the labels of an image."""
    found: dict[int, set[str]] = {}
    for row, text in zip(rows.tolist(), texts, strict=True):
        parts = text.split(separator) if separator else [text]
        found.setdefault(row, set()).update(part.strip() for part in parts if part.strip())
    classes = tuple(sorted(set().union(*found.values())))
    numbers = {name: i for i, name in enumerate(classes)}
    values = np.zeros((len(found), len(classes)), np.int32)
    for i, labels in enumerate(found.values()):
        values[i, [numbers[label] for label in labels]] = 1
    why = f"an image may have several of {len(classes)} labels"
    return Targets(np.array(list(found), np.int64), values, classes, (), ("multilabel", why))


def _targets(path: Path, frame: Any, wanted: Sequence[str], rows: np.ndarray, numbers: bool | None) -> Targets:
    """Return classes of one column, labels of several columns of 0 and 1, or numbers."""
    columns, numeric = frame[wanted], all(frame[name].dtype.is_numeric() for name in wanted)
    if len(wanted) > 1:
        if not numeric:
            name = next(name for name in wanted if not frame[name].dtype.is_numeric())
            raise DataError(f"{path}: {name} is not a number; with several columns of targets, all must be")
        values = columns.to_numpy().astype(np.float32)
        if not numbers and np.isin(values, (0, 1)).all():
            why = f"{len(wanted)} columns of 0 and 1"
            return Targets(rows, values.astype(np.int32), tuple(wanted), (), ("multilabel", why))
        return Targets(rows, values, (), tuple(wanted), ("regression", f"{len(wanted)} columns of numbers"))
    (name,) = wanted
    distinct = frame[name].n_unique()
    classes = (
        not numeric or (frame[name].dtype.is_integer() and distinct <= FEW) if numbers is None else not numbers
    )
    if distinct < 2:
        raise DataError(f"{path}: {name} has a single value, {frame[name][0]!r}: there is nothing to learn")
    if not classes:
        if not numeric:
            raise DataError(f"{path}: {name} is not a number, but the task predicts numbers")
        values = frame[name].to_numpy().astype(np.float32)[:, None]
        return Targets(rows, values, (), (name,), ("regression", f"{name} is a number"))
    levels = frame[name].unique().sort().cast(str).to_list()
    index = {level: i for i, level in enumerate(levels)}
    values = np.array([index[value] for value in frame[name].cast(str)], np.int32)
    why = (
        f"{name} has {distinct} whole numbers; task=regression predicts a number"
        if numeric
        else f"{name} names {distinct} classes"
    )
    return Targets(rows, values, tuple(levels), (), ("classification", why))
