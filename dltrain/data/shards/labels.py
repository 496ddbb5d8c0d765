"""The targets of the examples of tar shards: whole numbers, texts, or a key of JSON."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.bad import quoted
from dltrain.data.images.labels import FEW, Targets
from dltrain.data.shards.tar_index import LABELS, Index
from dltrain.errors import ConfigError, DataError

Place = Callable[[int], str]
"""Number of an example -> shard and key, for messages."""

MOST_CLASSES = 1_000_000


def read_targets(
    indexes: Sequence[Index],
    target: str | None,
    *,
    train: np.ndarray,
    classes: Sequence[str] | str | None,
    numbers: bool | None,
    where: Place,
) -> Targets:
    """Return the targets of all examples of the shards, in their order.

    Args:
        indexes: of the shards.
        target: `cls` (a whole number from 0), `txt` (a text) or `json.KEY`, also `json.KEY.KEY`; None: the first
            of cls and txt that there is.
        train: which examples decide on the classes, bool [N].
        classes: their names in the order of their numbers, or a file with one in each line; None: found.
        numbers: True: the targets are numbers; False: they are classes; None: the values decide.
        where: names an example.

    Raises:
        ConfigError: a key is wrong.
        DataError: a label is missing, has another form, or is of an unknown class; names shard and key.
    """
    ending, *path = _ending(indexes, target).split(".")
    values = list(_values(indexes, ending, path, where))
    names = _names(classes)
    label, rows = ".".join((ending, *path)), np.arange(len(values))
    if numbers:
        found = _as_numbers(values, label, where)
        return Targets(rows, found, (), (path[-1] if path else ending,), ("regression", f"{label} is a number"))
    kinds = {type(value) for value in values}
    if kinds == {float} or kinds == {int, float}:
        if numbers is False or names:
            raise DataError(f"{where(0)}: {label} is {values[0]}, a number, but the task predicts classes")
        return read_targets(indexes, label, train=train, classes=None, numbers=True, where=where)
    if len(kinds) > 1:
        other = next(i for i, value in enumerate(values) if type(value) is not type(values[0]))
        raise DataError(
            f"{where(other)}: {label} is {quoted(values[other])}, but that of {where(0)} is {quoted(values[0])}; "
            "expected one kind of value"
        )
    if kinds == {int} and ending == "json" and not names and numbers is None and len(set(values)) > FEW:
        return read_targets(indexes, label, train=train, classes=None, numbers=True, where=where)
    numbered = kinds == {int} and (ending == "cls" or bool(names))
    found, known = (_numbered if numbered else _named)(values, names, train, label, where)
    if len(known) < 2:
        raise DataError(f"{where(0)}: {label} has a single class, {known[0]}: there is nothing to learn")
    return Targets(rows, found, known, (), ("classification", f"{label} names {len(known)} classes"))


def _ending(indexes: Sequence[Index], target: str | None) -> str:
    """Return the label that `data.target` names, or the usual one that the shards have."""
    there = [ending for ending in LABELS if any(ending in index.endings for index in indexes)]
    if target is None:
        usual = [ending for ending in there if ending != "json"]
        if usual:
            return usual[0]
        if there:
            text = next(text for index in indexes for text in index.labels.get("json", ()) if text is not None)
            keys = ", ".join(_json(text, indexes[0].shard.name)) if text.lstrip().startswith("{") else "none"
            raise ConfigError(
                f"data.target: missing; data.target=json.KEY names a key of the .json members: {keys}"
            )
        raise DataError(
            f"{indexes[0].shard.name}: the examples have no label: no member ends in .cls, .txt or .json"
        )
    ending, _, path = target.partition(".")
    if ending not in LABELS or bool(path) != (ending == "json"):
        raise ConfigError(f"data.target={target}: expected cls, txt or json.KEY")
    if ending not in there:
        raise DataError(f"data.target={target}: no member of the shards ends in .{ending}")
    return target


def _values(indexes: Sequence[Index], ending: str, path: Sequence[str], where: Place) -> Iterator[Any]:
    number = 0
    for index in indexes:
        for text in index.labels.get(ending, [None] * len(index)):
            if text is None:
                raise DataError(f"{where(number)}: the member .{ending} is missing; every example needs its label")
            yield _value(text, ending, path, where(number)) if ending != "txt" else text.strip()
            number += 1


def _value(text: str, ending: str, path: Sequence[str], place: str) -> Any:
    """Return the number of .cls, or the value of a key of .json: a text, a whole number or a float."""
    if ending == "cls":
        try:
            return int(text)
        except ValueError:
            raise DataError(f"{place}: .cls is {quoted(text.strip())}, expected a whole number from 0") from None
    value: Any = _json(text, place)
    for key in path:
        if not isinstance(value, dict) or key not in value:
            found = ", ".join(value) if isinstance(value, dict) else quoted(value)
            raise DataError(f"{place}: .json has no key {'.'.join(path)}; found {found}")
        value = value[key]
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float) or value != value:
        raise DataError(f"{place}: {'.'.join(path)} of .json is {quoted(value)}, expected a text or a number")
    return value


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: .json is not JSON ({error})") from error


def _names(classes: Sequence[str] | str | None) -> tuple[str, ...]:
    """Return the names that `data.classes` has, or the lines of the file that it names."""
    if not isinstance(classes, str):
        names = tuple(classes or ())
    else:
        try:
            names = tuple(Path(classes).expanduser().read_text(encoding="utf-8").split("\n"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"data.classes={classes}: the file cannot be read ({error})") from error
        names = tuple(name.strip() for name in names if name.strip())
    if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
        raise ConfigError(f"data.classes: {twice} is there twice")
    return names


def _as_numbers(values: Sequence[Any], label: str, where: Place) -> np.ndarray:
    """Return float32 [N, 1]."""
    found = np.empty((len(values), 1), np.float32)
    for i, value in enumerate(values):
        try:
            found[i] = float(value)
        except ValueError:
            raise DataError(f"{where(i)}: {label} is {quoted(value)}, expected a number") from None
    return found


def _numbered(
    values: Sequence[int], names: Sequence[str], train: np.ndarray, label: str, where: Place
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return classes that are numbered from 0, int32 [N], and their names."""
    found = np.array([min(max(value, -1), 2**31 - 1) for value in values], np.int32)
    known = tuple(names) or tuple(str(i) for i in range(min(int(found[train].max()) + 1, MOST_CLASSES)))
    wrong = np.flatnonzero((found < 0) | (found >= len(known)))
    if len(wrong):
        first, of = int(wrong[0]), "data.classes has" if names else "the training examples have"
        raise DataError(f"{where(first)}: {label} is {values[first]}, an unknown class; {of} 0 to {len(known) - 1}")
    return found, known


def _named(
    values: Sequence[Any], names: Sequence[str], train: np.ndarray, label: str, where: Place
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return classes that texts name, or whole numbers in their order, int32 [N], and their names."""
    levels = names or sorted({value for value, used in zip(values, train, strict=True) if used})
    number = {level: i for i, level in enumerate(levels)}
    wrong = next((i for i, value in enumerate(values) if value not in number), None)
    if wrong is not None:
        few = ", ".join(map(str, levels[:5])) + ", ..." * (len(levels) > 5)
        of = "data.classes has" if names else "the training examples have"
        raise DataError(f"{where(wrong)}: {label} is {quoted(values[wrong])}, an unknown class; {of} {few}")
    return np.array([number[value] for value in values], np.int32), tuple(map(str, levels))
