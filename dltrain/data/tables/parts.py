"""Files of a table as columns that stay on the disk: Parquet, and text that becomes Parquet in dltrain's cache."""

import functools
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.data.store import Store, open_folder
from dltrain.data.tables.convert import Kind, apply_kind, missing_as_null
from dltrain.data.tables.dialect import HEAD, Dialect, find_dialect, split_fields
from dltrain.data.tables.options import Options
from dltrain.data.tables.typed import make_raw
from dltrain.errors import DataError

GROUP = 1 << 18  # rows that Parquet keeps together
COLUMNS = "rows.parquet"


@dataclass(frozen=True, eq=False)
class Part:
    """One file of a table.

    Attributes:
        path: the file.
        scan: its columns, a lazy polars frame.
        rows: their length.
        names: the columns that hold plain values.
        separator: of the fields of a text file, whose columns are all texts; "" for Parquet.
        keep: keeps a file of the cache.
    """

    path: Path
    scan: Any
    rows: int
    names: tuple[str, ...]
    separator: str = ""
    keep: Store | None = None

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
        parts.append(_parquet(path) if start == b"PAR1" else _text(path, digest.hex(), options))
    for part in parts:
        if lost := [name for name in parts[0].names if name not in part.names]:
            raise DataError(f"{part.path}: has no column {lost[0]}, which {parts[0].path} has")
    return tuple(parts), content.hexdigest()


def _parquet(path: Path, *, source: Path | None = None, separator: str = "", keep: Store | None = None) -> Part:
    import polars as pl

    try:
        scan = pl.scan_parquet(path, glob=False)
        names = tuple(make_raw(scan.head(1).collect(), path, "").frame.columns)
        return Part(source or path, scan, scan.select(pl.len()).collect().item(), names, separator, keep)
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
        raise DataError(f"{path}: the Parquet file is damaged or cut short ({_said(error)})") from error


def _text(path: Path, digest: str, options: Options) -> Part:
    """Convert a text file to columns, unless this was done before."""
    dialect = _dialect(path, options)
    size = path.stat().st_size

    def write(folder: Path) -> None:
        import polars as pl

        print(f"dltrain: converting {path.name} ({size / 1e6:,.0f} MB) to columns", file=sys.stderr, flush=True)
        try:
            pl.scan_csv(
                path,
                has_header=dialect.header,
                new_columns=list(options.columns) or None,
                separator=dialect.separator,
                quote_char=dialect.quote or None,
                comment_prefix=options.comment,
                infer_schema=False,
                glob=False,
            ).sink_parquet(folder / COLUMNS, compression="lz4", row_group_size=GROUP)
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{path}: is not a table that can be read in blocks ({_said(error)})") from error

    how = [dialect.separator, dialect.quote, dialect.header, options.comment, list(options.columns)]
    store = open_folder({"content": digest, "how": how}, write, needed=size)
    return _parquet(store.folder / COLUMNS, source=path, separator=dialect.separator, keep=store)


def _dialect(path: Path, options: Options) -> Dialect:
    with path.open("rb") as file:
        head = file.read(HEAD)
    text = head[: head.rfind(b"\n") + 1].removeprefix(b"\xef\xbb\xbf")
    if options.encoding not in ("auto", "utf-8") or b"\0" in text or not _is_utf8(text):
        raise DataError(
            f"{path}: is read in blocks, since it does not fit into memory, and must then be UTF-8 text; convert "
            "it to UTF-8 or Parquet"
        )
    dialect = find_dialect(text, options, suffix=path.suffix.lower())
    names = split_fields(text.decode().partition("\n")[0], dialect.separator, dialect.quote)
    if dialect.header and (twice := next((name for name in names if names.count(name) > 1), None)):
        raise DataError(f"{path}, line 1: several columns have the name {twice}; rename them, or set data.columns")
    return dialect


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _said(error: Exception) -> str:
    return str(error).splitlines()[0][:160]
