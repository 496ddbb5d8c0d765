"""Open what a user names as new examples: the kind of model and the kind of file decide how it is read."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from dltrain.data.images.encode import ImageEncoder
from dltrain.data.records.arrays import Arrays
from dltrain.data.records.block import Records
from dltrain.data.records.images import open_images
from dltrain.data.records.series import SequenceRecords, SeriesRecords
from dltrain.data.records.table import TableRecords
from dltrain.data.records.texts import Lines, TextFiles
from dltrain.data.series.encode import SeriesEncoder
from dltrain.data.series.long import SequenceEncoder
from dltrain.data.tables.options import Options
from dltrain.data.tables.read import Format, format_of
from dltrain.data.texts.encode import TextEncoder
from dltrain.errors import ConfigError, DataError
from dltrain.types import Spec

ARRAYS = (".npz", ".npy")
OPTIONS = tuple(field.name for field in fields(Options))


def open_records(
    path: Path,
    encoder: Any,
    spec: Spec,
    *,
    keys: Mapping[str, Any],
    keep: Sequence[str] = (),
    as_read: bool = False,
) -> Records:
    """Open a file or a folder of new examples.

    Args:
        path: a table for a model of tables, series or texts; also lines or a folder of texts; images; or arrays,
            which every model takes.
        encoder: what turns records into the arrays of the inputs; None: arrays only.
        spec: the features of the data.
        keys: how the training files were read: separator, encoding, ..., and `target` and `file`.
        keep: columns of a table that are repeated next to the predictions.
        as_read: whether blocks also hold the examples as they were read; see `Block`.

    Raises:
        ConfigError: columns are to be kept of something that is not a table.
        DataError: it cannot be read, or is nothing that this model takes.
    """
    if not path.exists():
        raise DataError(f"input={path}: no such file or folder")
    is_arrays, is_series = path.suffix.lower() in ARRAYS, isinstance(encoder, SeriesEncoder | SequenceEncoder)
    is_table = hasattr(encoder, "columns") and not (is_arrays or is_series or path.is_dir())
    if is_table and isinstance(encoder, TextEncoder):
        is_table = _has_column(path, encoder.column)
    if keep and not is_table:
        raise ConfigError(f"keep={keep[0]}: only columns of a table can be kept, and {path} is read as none")
    if is_arrays:
        return Arrays(path, spec, targets=as_read)
    if isinstance(encoder, ImageEncoder):
        return open_images(path, encoder, column=keys.get("file"))
    if isinstance(encoder, TextEncoder) and not is_table:
        return (TextFiles if path.is_dir() else Lines)(path, encoder, as_read=as_read)
    if path.is_dir() or not hasattr(encoder, "columns"):
        raise DataError(f"input={path}: {'is a folder; ' * path.is_dir()}this model takes {_taken(encoder)}")
    if is_series:
        series = SeriesRecords if isinstance(encoder, SeriesEncoder) else SequenceRecords
        return series(path, encoder)
    options = _options(path, encoder, keys)
    return TableRecords(path, encoder, options, keep=keep, targets=as_names(keys.get("target")), as_read=as_read)


def as_names(value: Any) -> tuple[str, ...]:
    """Return the columns that a key such as `data.target` names: none, one or a list."""
    return (value,) if isinstance(value, str) else tuple(value or ())


def _options(path: Path, encoder: Any, keys: Mapping[str, Any]) -> Options:
    """Return how the training files were read, as far as the keys say so; no names if this file has them."""
    plain = ("separator", "quote", "encoding", "decimal", "comment")
    said = {name: keys[name] for name in plain if name in keys}
    header = {"header": None if keys["header"] == "auto" else keys["header"]} if "header" in keys else {}
    found = Options(**said, **header, columns=as_names(keys.get("columns")))
    if found.columns and format_of(path) is Format.TEXT and _names_in(path) >= set(encoder.columns):
        return replace(found, columns=(), header=True)
    return found


def _has_column(path: Path, name: str) -> bool:
    """Tell whether a file is a table with this column; else each of its lines is a text."""
    return format_of(path) is not Format.TEXT or name in _names_in(path)


def _names_in(path: Path) -> set[str]:
    """Return what may be the names of columns in the first line of a file."""
    with path.open("rb") as file:
        first = file.readline(1 << 16).decode("utf-8-sig", "replace")
    return {field.strip().strip("\"'") for sign in ",;\t|" for field in first.split(sign)}


def _taken(encoder: Any) -> str:
    if isinstance(encoder, TextEncoder):
        return "a table of texts, a text file, or a folder of text files"
    return "an .npz or .npy file" if not hasattr(encoder, "columns") else "a table, or an .npz file of arrays"
