"""What a target suggests: the task, and the classes in their order. Tables, texts and others share it."""

from collections.abc import Sequence

import numpy as np

from dltrain.errors import DataError

NUMERIC_CLASSES = 20
"""Most different whole numbers of a target that are taken for classes."""


def class_levels(
    values: Sequence[object], *, positive: str | None = None, name: str = "target", single: bool = False
) -> tuple[str, ...]:
    """Return the classes of a target in their order: sorted, numbers by value, the positive class last.

    Args:
        values: the values of all examples, or the different ones among them.
        positive: `data.positive`, the class that metrics of two classes are about; None: the last in order.
        name: what messages call the target.
        single: whether one class is enough, as to evaluate a model on.

    Raises:
        DataError: there is one class only, or `positive` is not one of two.
    """
    levels = [as_level(value) for value in sorted(set(values), key=_order)]
    if len(levels) < 2 - single:
        raise DataError(
            f"{name}: has a single value, {levels[0]}; there is nothing to tell apart"
            if levels
            else f"{name}: has no values"
        )
    if positive is None:
        return tuple(levels)
    if len(levels) != 2:
        raise DataError(f"data.positive={positive}: {name} has {len(levels)} classes; it chooses between two")
    if positive not in levels:
        raise DataError(f"data.positive={positive}: {name} has no such class; it has {' and '.join(levels)}")
    return tuple(sorted(levels, key=lambda level: level == positive))


def as_level(value: object) -> str:
    """Return the name of a class: a whole number without decimal point, a truth value in lower case."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _order(value: object) -> tuple[int, float, str]:
    if isinstance(value, int | float | np.number):
        return 0, float(value), ""
    return 1, 0.0, str(value)


def suggest_task(name: str, *, distinct: int, numeric: bool, whole: bool) -> tuple[str, str]:
    """Return the task that suits a target, and why; no target is refused.

    Args:
        name: what messages call the target.
        distinct: number of different values.
        numeric: whether they are numbers, and not texts or truth values.
        whole: whether all are whole numbers.
    """
    if distinct == 2:
        return "binary", f"{name} has two values"
    if not numeric:
        return "classification", f"{name} has {distinct:,} classes"
    if whole and 3 <= distinct <= NUMERIC_CLASSES:
        return "classification", f"{name} has {distinct} whole numbers; task=regression predicts a number"
    return "regression", f"{name} is a number"
