"""Findings about the target: columns that give it away, and classes with few examples."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dltrain.data.quality.finding import Finding, What
from dltrain.data.tables.columns import Column, Meaning

CORRELATED = 0.99  # of a number with the target, from which it is a leak
ROWS_EACH = 5  # mean number of rows with the same value, from which "each value has one target" means something
ENOUGH = 20  # rows
RARE = 0.05  # share of a class below which it is rare
UNEVEN = 10  # times as many examples in the largest class as in the smallest


def leak_findings(frame: Any, columns: Sequence[Column], target: np.ndarray, *, classes: bool) -> Iterator[Finding]:
    """Find columns that determine the target or correlate with it above 0.99, and equal columns.

    Args:
        frame: the rows, a polars frame.
        columns: what the columns mean; identifiers and constants are not looked at.
        target: class numbers or numbers [N].
        classes: whether it is classes.
    """
    advice = "if it is known only after the target, leave it out: data.meanings={%s: ignored}"
    for column in columns:
        if not column.meaning.is_input or len(target) < ENOUGH:
            continue
        values = frame[column.name]
        if column.meaning is Meaning.NUMBER:
            text = _by_number(values, target, classes=classes)
        else:
            text = _by_level(values, target)
        if text:
            yield Finding(What.LEAK, column.name, text, advice % column.name)
    yield from _equal(frame, [column.name for column in columns if column.meaning.is_input])


def _by_number(values: Any, target: np.ndarray, *, classes: bool) -> str:
    """Return how a column of numbers gives the target away; "" if it does not."""
    import polars as pl

    numbers = values.cast(pl.Float64, strict=False).to_numpy()
    there = np.isfinite(numbers)
    x, y = numbers[there], target[there].astype(np.float64)
    if len(x) < ENOUGH or x.std() == 0 or y.std() == 0:
        return ""
    if classes:
        order = np.lexsort((y, x))
        x, y = x[order], y[order]
        changes, count = np.flatnonzero(np.diff(y)), len(np.unique(y))
        if len(changes) == count - 1 and (x[changes] < x[changes + 1]).all():
            return f"{count - 1} threshold{'s' * (count > 2)} of it separate{'s' * (count == 2)} the classes"
        return ""
    ranks = [np.unique(v, return_inverse=True)[1].astype(np.float64) for v in (x, y)]
    for word, (a, b) in (("it correlates", (x, y)), ("its ranks correlate", ranks)):
        if abs(found := float(np.corrcoef(a, b)[0, 1])) > CORRELATED:
            return f"{word} with the target by {found:.4f}"
    return ""


def _by_level(values: Any, target: np.ndarray) -> str:
    """Return that each value of a column has one target, if it has enough rows for each."""
    import polars as pl

    keys = values.cast(pl.String).fill_null("").to_numpy()
    levels, inverse = np.unique(keys.astype(str), return_inverse=True)
    if len(levels) < 2 or len(levels) * ROWS_EACH > len(keys):
        return ""
    _, targets = np.unique(target, return_inverse=True)
    pairs = len(np.unique(inverse * (targets.max() + 1) + targets))
    return f"each of its {len(levels)} values has one target only" if pairs == len(levels) else ""


def _equal(frame: Any, names: Sequence[str]) -> Iterator[Finding]:
    """Find columns with the same values."""
    seen: dict[Any, str] = {}
    for name in names:
        values = frame[name]
        key = (str(values.dtype), int(values.hash().sum()))
        if key in seen and frame[seen[key]].equals(values, check_names=False):
            yield Finding(What.EQUAL_COLUMNS, name, f"has the same values as {seen[key]}", "remove one of them")
        else:
            seen.setdefault(key, name)


def imbalance_findings(counts: dict[str, int]) -> Iterator[Finding]:
    """Find classes with few examples; `counts` is examples by class."""
    counts = {name: count for name, count in counts.items() if count}
    if len(counts) < 2:
        return
    total, (least, fewest), (_, most) = sum(counts.values()), _least(counts), _most(counts)
    if fewest <= RARE * total * 2 / len(counts) or most >= UNEVEN * fewest:
        text = f"{least} has {fewest:,} of {total:,} examples ({fewest / total:.1%}), the largest class {most:,}"
        yield Finding(What.IMBALANCE, "", text, "watch f1 or auroc next to accuracy")


def _least(counts: dict[str, int]) -> tuple[str, int]:
    return min(counts.items(), key=lambda item: item[1])


def _most(counts: dict[str, int]) -> tuple[str, int]:
    return max(counts.items(), key=lambda item: item[1])
