"""The rows of a file in blocks, whatever its format, so that a file of any length takes little memory."""

import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.bad import Bad
from dltrain.data.sources.files import check_file
from dltrain.data.tables.columnar import check_utf8, dialect_of
from dltrain.data.tables.content import PACKED, read_content
from dltrain.data.tables.dialect import Dialect, find_dialect
from dltrain.data.tables.options import Options
from dltrain.data.tables.read import LARGEST, Format, format_of
from dltrain.data.tables.structure import blocks
from dltrain.data.tables.text import read_blocks, without_comments
from dltrain.data.tables.typed import make_raw, parse_jsonl, read_columns
from dltrain.errors import DataError

PART = 1 << 23  # bytes of a text file that are read together
ROWS = 1 << 16  # rows of other files
SMALL = 1 << 26  # bytes of a text file that is read as a whole, in any encoding


@dataclass(frozen=True, eq=False)
class RowBlock:
    """Some rows that follow one another.

    Attributes:
        frame: those that are whole, a polars frame; of text files all columns are texts.
        rows: each as the file counts it, int [R].
        bad: the others.
        bad_rows: these as the file counts them, int.
        done: part of the file that was read for it, in the unit of `Rows.total`.
    """

    frame: Any
    rows: np.ndarray
    bad: Sequence[Bad]
    bad_rows: Sequence[int]
    done: int


@dataclass(frozen=True)
class Rows:
    """A file whose rows are read in blocks.

    Attributes:
        unit: `line` or `row`, which the file counts.
        total: its length in `measure`, for the progress bar.
        measure: MB or rows.
        read: begins to read the blocks; with the names of columns, other columns may be left out.
        separator: of the fields of a text file; "" for other files.
    """

    unit: str
    total: int
    measure: str
    read: Callable[[], Iterator[RowBlock]]
    separator: str = ""


def open_rows(path: Path, options: Options, *, columns: Sequence[str] = ()) -> Rows:
    """Open a file: CSV, TSV and the like, JSON lines, Parquet, Feather or Arrow.

    Args:
        path: the file.
        options: how to read it.
        columns: the columns that are needed; Parquet reads no others.

    Raises:
        DataError: the file is not a table.
    """
    check_file(path, most=LARGEST)
    kind = format_of(path)
    if kind is Format.COLUMNS:
        return _open_columns(path, columns)
    mib = max(1, path.stat().st_size >> 20)
    if kind is Format.OBJECTS:
        return Rows("line", mib, "MB", lambda: _objects(path, options))
    dialect = _dialect(path, options)
    return Rows("line", mib, "MB", lambda: _texts(path, options, dialect), dialect.separator)


def _open_columns(path: Path, columns: Sequence[str]) -> Rows:
    import polars as pl

    with path.open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    try:
        scan = pl.scan_parquet(path, glob=False) if parquet else read_columns(path, most=LARGEST).frame.lazy()
        names = [name for name in scan.collect_schema().names() if not columns or name in columns]
        total = scan.select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
        why = str(error).splitlines()[0][:120]
        raise DataError(f"{path}: the Parquet file is damaged or cut short ({why}); write it again") from error

    def read() -> Iterator[RowBlock]:
        for first in range(0, total, ROWS):
            try:
                frame = scan.slice(first, ROWS).select(names).collect()
            except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
                why = str(error).splitlines()[0][:120]
                raise DataError(f"{path}: rows from {first + 1} on are damaged ({why})") from error
            frame = make_raw(frame, path, "").frame
            yield RowBlock(frame, np.arange(first + 1, first + 1 + len(frame)), (), (), len(frame))

    return Rows("row", total, "rows", read)


def _objects(path: Path, options: Options) -> Iterator[RowBlock]:
    for line, part, done in _parts(path, options, quote=""):
        if part.strip():
            found = parse_jsonl(part, path, first=line)
            frame = make_raw(found.frame, path, "", unit="line", lines=found.lines).frame
            yield RowBlock(frame, found.lines, found.bad, _lines(found.bad), done)


def _texts(path: Path, options: Options, dialect: Dialect) -> Iterator[RowBlock]:
    columns: Sequence[str] = []
    for line, part, done in _parts(path, options, quote=dialect.quote):
        whole = [(line, without_comments(part, options.comment))]
        for block in read_blocks(path, whole, dialect, _fitting(path, options, dialect), columns=columns):
            columns = block.frame.columns
            yield RowBlock(block.frame, block.lines, block.bad, _lines(block.bad), done)


def _dialect(path: Path, options: Options) -> Dialect:
    if _is_small(path):
        content = read_content(path, encoding=options.encoding, most=LARGEST)
        return find_dialect(without_comments(content.data, options.comment), options, suffix=path.suffix.lower())
    return dialect_of(path, options)[0]


def _fitting(path: Path, options: Options, dialect: Dialect) -> Options:
    """Leave the targets out of the names of the columns of a file without header, if it has no column for them."""
    if dialect.header or not options.columns:
        return options
    with path.open("rb") as file:
        first = file.readline().decode("utf-8", "replace").rstrip("\r\n")
    if first.count(dialect.separator) + 1 != len(options.columns) - len(options.targets):
        return options
    return replace(options, columns=tuple(name for name in options.columns if name not in options.targets))


def _parts(path: Path, options: Options, *, quote: str) -> Iterator[tuple[int, bytes, int]]:
    """Yield parts that end with a row: the line in which each begins, its bytes as UTF-8, and MB of the file."""
    if _is_small(path):
        data: Any = read_content(path, encoding=options.encoding, most=LARGEST).data
        scale = path.stat().st_size / max(1, len(data))
        yield from _counted(blocks(data, quote, size=PART), scale)
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        read = first = 3 if data[:3] == b"\xef\xbb\xbf" else 0
        for line, part, done in _counted(blocks(data, quote, first=first, size=PART), 1.0):
            check_utf8(path, part, line)
            yield line, part, done
            read += len(part)
            if hasattr(mmap, "MADV_DONTNEED") and read > mmap.PAGESIZE:  # else the whole file stays in memory
                data.madvise(mmap.MADV_DONTNEED, 0, read - read % mmap.PAGESIZE)


def _counted(parts: Iterator[tuple[int, bytes]], scale: float) -> Iterator[tuple[int, bytes, int]]:
    read, shown = 0, 0
    for line, part in parts:
        read += len(part)
        now = int(read * scale) >> 20
        yield line, part, now - shown
        shown = now


def _is_small(path: Path) -> bool:
    """Tell whether a text file is read as a whole: it is small, or compressed."""
    with path.open("rb") as file:
        start = file.read(6)
    return path.stat().st_size <= SMALL or any(start.startswith(magic) for magic in PACKED)


def _lines(bad: Sequence[Bad]) -> list[int]:
    return [int(row.row.partition(" ")[2]) for row in bad]
