"""Columns of predictions as a polars frame, with empty places for examples that could not be read."""

from collections.abc import Mapping
from typing import Any

import numpy as np

STEP = "step"
"""Column that counts the rows of one example, from 1, if it has several."""


def frame_of(ids: Mapping[str, Any], columns: Mapping[str, np.ndarray], *, valid: np.ndarray | None) -> Any:
    """Return a polars frame with the columns that identify the examples, and their predictions.

    Args:
        ids: name -> values [N], or [N, H] for the rows of each example.
        columns: predictions of the valid examples, [G] or [G, H].
        valid: which examples have predictions, bool [N]; None: all. The others are empty (null).
    """
    import polars as pl

    count = len(next(iter(columns.values()))) if valid is None else len(valid)
    rows = max((values.shape[1] for values in columns.values() if values.ndim > 1), default=1)
    long = any(np.ndim(values) > 1 for values in (*columns.values(), *ids.values()))
    found = {name: _repeated(pl.Series(name, *_flat(values)), values, rows, long) for name, values in ids.items()}
    if long:
        found[STEP] = pl.Series(STEP, np.tile(np.arange(1, rows + 1, dtype=np.int32), count))
    for name, values in columns.items():
        series = _repeated(pl.Series(name, *_flat(values)), values, rows, long)
        place = name if name not in found else f"predicted_{name}"
        found[place] = (series if valid is None else _spread(series, valid, rows if long else 1)).alias(place)
    return pl.DataFrame(list(found[name].alias(name) for name in found))


def _flat(values: Any) -> tuple[Any, ...]:
    """Return values as polars takes them; texts as a list."""
    if isinstance(values, np.ndarray):
        values = values.reshape(-1)
        return (values.tolist(),) if values.dtype.kind in "OU" else (np.ascontiguousarray(values),)
    return (values,)


def _repeated(series: Any, values: Any, rows: int, long: bool) -> Any:
    """Repeat the value of an example for each of its rows, unless it has one for each."""
    import polars as pl

    if not long or np.ndim(values) > 1:
        return series
    return series.gather(pl.Series(np.repeat(np.arange(len(series)), rows)))


def _spread(series: Any, valid: np.ndarray, rows: int) -> Any:
    """Put the values of valid examples into their places, null in the others."""
    import polars as pl

    if valid.all():
        return series
    places = np.cumsum(valid) - 1
    index = np.repeat(places, rows) * rows + np.tile(np.arange(rows), len(valid))
    kept = np.repeat(valid, rows)
    return series.gather(
        pl.Series([int(i) if keep else None for i, keep in zip(index, kept, strict=True)], dtype=pl.UInt32)
    )
