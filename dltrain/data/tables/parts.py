"""Files of a table as columns that stay on the disk: Parquet, and text that becomes Parquet in dltrain's cache."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.bad import Bad
from dltrain.data.store import Store
from dltrain.data.tables.columnar import open_columnar
from dltrain.data.tables.convert import Kind, apply_kind, missing_as_null
from dltrain.data.tables.options import Options
from dltrain.data.tables.typed import make_raw
from dltrain.errors import DataError


@dataclass(frozen=True, eq=False)
class Part:
    """One file of a table.

    Attributes:
        path: the file.
        scan: its columns, a lazy polars frame.
        rows: their length.
        names: the columns that hold plain values.
        separator: of the fields of a text file, whose columns are all texts; "" for Parquet.
        lines: the line of a text file in which each row begins, int [rows]; None for Parquet.
        bad: rows that are left out.
        keep: keeps the files of the cache.
        digest: SHA-256 of the content of the file, hex.
    """

    path: Path
    scan: Any
    rows: int
    names: tuple[str, ...]
    separator: str = ""
    lines: np.ndarray | None = None
    bad: tuple[Bad, ...] = ()
    keep: Store | None = None
    digest: str = ""

    @property
    def numbers(self) -> np.ndarray:
        """The rows as the file counts them, int [rows]."""
        return np.arange(1, self.rows + 1, dtype=np.int32) if self.lines is None else self.lines

    def place(self, row: int) -> tuple[str, str]:
        """Return the file, and the row as the file counts it."""
        return str(self.path), f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"

    def column(self, name: str) -> Any:
        """Read one column, a polars frame."""
        return make_raw(self.scan.select(name).collect(), self.path, "").frame

    def block(self, first: int, count: int, kinds: Mapping[str, Kind | None], missing: Sequence[str]) -> Any:
        """Read these columns of some rows with their types, a polars frame; `kinds` is what texts stand for."""
        frame = self.scan.slice(first, count).select(list(kinds)).collect()
        frame = make_raw(frame, self.path, "").frame
        if not self.separator:
            return frame
        return frame.with_columns(
            missing_as_null(apply_kind(missing_as_null(frame[name], missing), kind)[0], missing).alias(name)
            for name, kind in kinds.items()
            if kind is not None
        )


def open_parts(paths: Sequence[Path], options: Options) -> tuple[tuple[Part, ...], str]:
    """Return the files, and the SHA-256 of their content, hex; read once in a process.

    Raises:
        DataError: a file is not a table, or lacks a column of the first.
    """
    return _open_kept(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths), options)


@functools.lru_cache(maxsize=2)
def _open_kept(stamps: tuple[tuple[Path, int, int], ...], options: Options) -> tuple[tuple[Part, ...], str]:
    content, parts = hashlib.sha256(), []
    for path, *_ in stamps:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            file.seek(0)
            start = file.read(4)
        content.update(digest)
        part = _parquet([path], path) if start == b"PAR1" else _text(path, digest.hex(), options)
        parts.append(replace(part, digest=digest.hex()))
    for part in parts:
        if lost := [name for name in parts[0].names if name not in part.names]:
            raise DataError(f"{part.path}: has no column {lost[0]}, which {parts[0].path} has")
    return tuple(parts), content.hexdigest()


def _parquet(files: Sequence[Path], path: Path, **more: Any) -> Part:
    """Return the columns of Parquet files, one below the other, that hold the content of `path`."""
    import polars as pl

    try:
        scan = pl.scan_parquet(list(files), glob=False)
        names = tuple(make_raw(scan.head(1).collect(), path, "").frame.columns)
        return Part(path, scan, scan.select(pl.len()).collect().item(), names, **more)
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
        raise DataError(f"{path}: the Parquet file is damaged or cut short ({_said(error)})") from error


def _text(path: Path, digest: str, options: Options) -> Part:
    """Return the columns of a text file, which becomes Parquet first."""
    found = open_columnar(path, digest, options)
    more = {"separator": found.separator, "lines": found.lines, "bad": found.bad, "keep": found.store}
    return _parquet(found.files, path, **more)


def _said(error: Exception) -> str:
    return str(error).splitlines()[0][:160]
