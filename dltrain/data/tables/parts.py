"""Files of a table as columns that stay on the disk: Parquet, and text that becomes Parquet in dltrain's cache."""

import codecs
import functools
import hashlib
import json
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.bad import Bad, OnBad, check_bad
from dltrain.data.progress import progress
from dltrain.data.store import Store, open_folder
from dltrain.data.tables.convert import Kind, apply_kind, missing_as_null
from dltrain.data.tables.dialect import HEAD, Dialect, find_dialect
from dltrain.data.tables.options import Options
from dltrain.data.tables.structure import blocks
from dltrain.data.tables.text import Block, read_blocks, without_comments
from dltrain.data.tables.typed import make_raw
from dltrain.errors import DataError

GROUP = 1 << 18  # rows that Parquet keeps together
BLOCK = 1 << 24  # bytes of a text file that are read together
LINES, BAD = "lines.npy", "bad.json"
RULE = 2  # the version of what is written; another one is converted again


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
    """

    path: Path
    scan: Any
    rows: int
    names: tuple[str, ...]
    separator: str = ""
    lines: np.ndarray | None = None
    bad: tuple[Bad, ...] = ()
    keep: Store | None = None

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
        parts.append(_parquet([path], path) if start == b"PAR1" else _text(path, digest.hex(), options))
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
    """Convert a text file to columns, unless this was done before."""
    dialect, mark = _dialect(path, options)
    size = path.stat().st_size

    def write(folder: Path) -> None:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            with progress(f"converting {path.name} to columns", size >> 20, unit="MB") as advance:
                parts = _parts(path, blocks(data, dialect.quote, first=mark, size=BLOCK), options.comment, advance)
                _write(folder, read_blocks(path, parts, dialect, options), options)

    how = [dialect.separator, dialect.quote, dialect.header, options.comment, list(options.columns)]
    store = open_folder({"content": digest, "how": how, "rule": RULE}, write, needed=size)
    bad, total = json.loads((store.folder / BAD).read_text(encoding="utf-8"))
    rows = tuple(Bad(str(path), *row) for row in bad)
    check_bad(rows, total, options)
    files = sorted(store.folder.glob("rows-*.parquet"))
    lines = np.load(store.folder / LINES, mmap_mode="r")
    return _parquet(files, path, separator=dialect.separator, lines=lines, bad=rows, keep=store)


def _parts(
    path: Path, cuts: Iterator[tuple[int, bytes]], comment: str | None, advance: Callable[[int], None]
) -> Iterator[tuple[int, bytes]]:
    """Yield parts of a file without comments; DataError for one that is not UTF-8."""
    done = 0
    for line, part in cuts:
        try:
            part.decode()
        except UnicodeDecodeError as error:
            where = line + part.count(b"\n", 0, error.start)
            raise DataError(
                f"{path}, line {where}: found the byte 0x{part[error.start]:02x}, expected UTF-8, as the file does "
                "not fit into memory; convert it to UTF-8 or Parquet"
            ) from error
        yield line, without_comments(part, comment)
        advance((done + len(part) >> 20) - (done >> 20))
        done += len(part)


def _write(folder: Path, found: Iterator[Block], options: Options) -> None:
    """Write the rows as Parquet, the lines in which they begin, and what is wrong with the others."""
    lines, bad, total = [], [], 0
    for i, block in enumerate(found):
        block.frame.write_parquet(folder / f"rows-{i:06}.parquet", compression="lz4", row_group_size=GROUP)
        lines.append(block.lines.astype(np.int32))
        bad, total = [*bad, *block.bad], total + block.total
        if options.on_bad is OnBad.ERROR:
            check_bad(bad, total, options)
    np.save(folder / LINES, np.concatenate(lines) if lines else np.zeros(0, np.int32))
    plain = [[row.row, row.column, row.wrong] for row in bad]
    (folder / BAD).write_text(json.dumps([plain, total]), encoding="utf-8")


def _dialect(path: Path, options: Options) -> tuple[Dialect, int]:
    """Return how fields are written, and the length of the byte order mark."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    text = head[: head.rfind(b"\n") + 1].removeprefix(codecs.BOM_UTF8)
    if options.encoding not in ("auto", "utf-8") or b"\0" in text or not _is_utf8(text):
        raise DataError(
            f"{path}: is read in blocks, since it does not fit into memory, and must then be UTF-8 text; convert "
            "it to UTF-8 or Parquet"
        )
    text = without_comments(text, options.comment)
    mark = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    return find_dialect(text, options, suffix=path.suffix.lower()), mark


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _said(error: Exception) -> str:
    return str(error).splitlines()[0][:160]
