"""Open what a user names as new examples: the kind of model and the kind of file decide how it is read."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
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
) -> Records:
    """Open a file or a folder of new examples.

    Args:
        path: a table for a model of tables, series or texts; also lines or a folder of texts; images; or arrays,
            which every model takes.
        encoder: what turns records into the arrays of the inputs; None: arrays only.
        spec: the features of the data.
        keys: how the training files were read: separator, encoding, ..., and `target` and `file`.
        keep: columns of a table that are repeated next to the predictions.

    Raises:
        ConfigError: columns are to be kept of something that is not a table.
        DataError: it cannot be read, or is nothing that this model takes.
    """
    if not path.exists():
        raise DataError(f"input={path}: no such file or folder")
    as_table = not path.is_dir() and path.suffix.lower() not in ARRAYS and not isinstance(encoder, ImageEncoder)
    if keep and not (
        as_table and hasattr(encoder, "columns") and not isinstance(encoder, SeriesEncoder | SequenceEncoder)
    ):
        raise ConfigError(f"keep={keep[0]}: only columns of a table can be kept, and {path} is read as none")
    if path.suffix.lower() in ARRAYS:
        return Arrays(path, spec)
    if isinstance(encoder, ImageEncoder):
        return open_images(path, encoder, column=keys.get("file"))
    if isinstance(encoder, TextEncoder) and path.is_dir():
        return TextFiles(path, encoder)
    if path.is_dir():
        raise DataError(f"input={path}: is a folder; this model takes {_taken(encoder)}")
    if isinstance(encoder, SeriesEncoder):
        return SeriesRecords(path, encoder)
    if isinstance(encoder, SequenceEncoder):
        return SequenceRecords(path, encoder)
    options = _options(keys)
    if isinstance(encoder, TextEncoder) and not _has_column(path, encoder.column):
        return Lines(path, encoder)
    if not hasattr(encoder, "columns"):
        raise DataError(f"input={path}: this model takes {_taken(encoder)}")
    target = keys.get("target") or ()
    targets = (target,) if isinstance(target, str) else tuple(target)
    return TableRecords(path, encoder, options, keep=keep, targets=targets)


def _options(keys: Mapping[str, Any]) -> Options:
    """Return how the training files were read, as far as the keys say so."""
    plain = ("separator", "quote", "encoding", "decimal", "comment")
    said = {name: keys[name] for name in plain if name in keys}
    header = {"header": None if keys["header"] == "auto" else keys["header"]} if "header" in keys else {}
    return Options(**said, **header, columns=tuple(keys.get("columns") or ()))


def _has_column(path: Path, name: str) -> bool:
    """Tell whether a file is a table with this column; else each of its lines is a text."""
    if format_of(path) is not Format.TEXT:
        return True
    with path.open("rb") as file:
        first = file.readline(1 << 16).decode("utf-8-sig", "replace")
    return any(name == field.strip().strip('"') for sign in ",;\t|" for field in first.split(sign))


def _taken(encoder: Any) -> str:
    if isinstance(encoder, TextEncoder):
        return "a table of texts, a text file, or a folder of text files"
    return "an .npz or .npy file" if not hasattr(encoder, "columns") else "a table, or an .npz file of arrays"
