"""Rows of a table that a program has in memory, as a polars frame."""

import hashlib
import io
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.cache import cache_folder
from dltrain.errors import DataError


def is_frame(records: Any) -> bool:
    """Tell whether this is a data frame: of polars, pandas or the like."""
    return hasattr(records, "columns") and hasattr(records, "__getitem__")


def store_frame(records: Any) -> Path:
    """Write a data frame into the cache folder as Parquet, named by its content, for a run to read."""
    content = io.BytesIO()
    as_frame(records).write_parquet(content)
    folder = cache_folder() / "frames"
    path = folder / f"{hashlib.sha256(content.getvalue()).hexdigest()[:32]}.parquet"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{secrets.token_hex(8)}"
        draft.write_bytes(content.getvalue())
        os.replace(draft, path)
    return path


def as_frame(records: Any) -> Any:
    """Return records as a polars frame: a frame of polars or pandas, columns by name, or a list of dicts.

    Raises:
        DataError: it is nothing of this kind, or the columns differ in length.
    """
    import polars as pl

    if isinstance(records, pl.DataFrame):
        return records
    if isinstance(records, pl.LazyFrame):
        return records.collect()
    try:
        if isinstance(records, Mapping):
            columns = {str(name): _values(values) for name, values in records.items()}
            if not any(isinstance(values, list | pl.Series) for values in columns.values()):
                columns = {name: [value] for name, value in columns.items()}  # one record
            return pl.DataFrame(columns, strict=False)
        if is_frame(records):
            return pl.DataFrame({str(name): _values(records[name]) for name in records.columns}, strict=False)
        if isinstance(records, list | tuple) and records and all(isinstance(one, Mapping) for one in records):
            return pl.DataFrame(list(records), strict=False, infer_schema_length=None)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise DataError(f"inputs: not a table ({str(error).splitlines()[0]})") from error
    raise DataError(
        f"inputs: expected a data frame, columns by name, or a list of dicts, found {type(records).__name__}"
    )


def check_named(names: Sequence[str], columns: Sequence[Any]) -> None:
    """Raise DataError unless records have columns of these names."""
    if lost := [name for name in names if name not in columns]:
        raise DataError(f"inputs: the column {lost[0]} is missing; there are {', '.join(map(str, columns))}")


def _values(values: Any) -> Any:
    """Return a column as a list without the NaN that pandas writes for a missing text, or as a series."""
    import polars as pl

    if isinstance(values, pl.Series | str) or not hasattr(values, "__len__") or not hasattr(values, "__iter__"):
        return values  # a column, or one value
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return values.tolist()
    if hasattr(values, "to_pydatetime") or str(getattr(values, "dtype", "")).startswith("datetime64"):
        return pl.Series(np.asarray(values).astype("datetime64[us]"))
    found = values.tolist() if hasattr(values, "tolist") else list(values)
    return [None if _is_missing(value) else value for value in found]


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or type(value).__name__ in ("NAType", "NaTType")
        or (isinstance(value, float) and value != value)
    )
