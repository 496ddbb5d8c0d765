"""Reading the files of a table, of whatever format, into typed columns, once in a process."""

import difflib
import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from dltrain.data.bad import OnBad
from dltrain.data.sources.files import check_file
from dltrain.data.tables.convert import convert, missing_as_null, plain_numbers
from dltrain.data.tables.options import MISSING, Options, SettableError
from dltrain.data.tables.raw import Raw, joined
from dltrain.data.tables.text import read_text
from dltrain.data.tables.typed import read_columns, read_jsonl
from dltrain.errors import ConfigError, DataError

LARGEST = 1 << 36  # bytes of a file
ROOM = 1 << 36  # bytes that a table may take, where nobody says how many are free
KEPT = 2  # tables of a process that are kept: that of the run, and one more


@dataclass(frozen=True, eq=False)
class Table:
    """A table in memory.

    Attributes:
        raw: its rows, with typed columns.
        fingerprint: SHA-256 of the content of the files, hex.
        digests: that of each file.
    """

    raw: Raw
    fingerprint: str
    digests: tuple[str, ...] = ()

    @property
    def frame(self) -> Any:
        """The rows, a polars frame."""
        return self.raw.frame


@dataclass(frozen=True)
class _Room:
    """The bytes that a table may take; any two are equal, since they do not change what is read."""

    bytes: int = field(compare=False)


def read_table(paths: Sequence[Path], options: Options, *, most: int) -> Table:
    """Read files with the same columns, one below the other; the first decides on names and types.

    Args:
        paths: the files: CSV, TSV and the like, Parquet, JSON lines, Feather or Arrow.
        options: what the user set.
        most: largest number of bytes that a table may take in memory.

    Raises:
        DataError: a file is not a table, or has rows that cannot be read.
    """
    for path in paths:
        check_file(path, most=LARGEST)
    stamps = tuple((path, path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ino) for path in paths)
    return _read_kept(stamps, options, _Room(most))


@functools.lru_cache(maxsize=KEPT)
def _read_kept(stamps: tuple[Any, ...], options: Options, room: _Room) -> Table:
    parts: list[Raw] = []
    for path, *_ in stamps:
        part = read_file(path, options, most=room.bytes, names=parts[0].frame.columns if parts else ())
        parts.append(_aligned(part, parts[0]) if parts else part)
    digests = [_digest(path) for path, *_ in stamps]
    found = tuple(digest.hex() for digest in digests)
    return Table(convert(joined(parts), options), hashlib.sha256(b"".join(digests)).hexdigest(), found)


def read_file(path: Path, options: Options, *, most: int, names: Sequence[str] = ()) -> Raw:
    """Read one file, whose first bytes tell its format; `names` are those of a file without header."""
    kind = format_of(path)
    if kind is Format.COLUMNS:
        return read_columns(path, most=most)
    if kind is Format.OBJECTS:
        return read_jsonl(path, options, most=most)
    return read_text(path, options, most=most, names=names)


class Format(StrEnum):
    """How a file holds the rows of a table."""

    COLUMNS = "columns"  # Parquet, Feather or Arrow
    OBJECTS = "objects"  # JSON lines
    TEXT = "text"  # separated fields


def format_of(path: Path) -> Format:
    """Return the format of a file, which its first bytes and its name tell.

    Raises:
        DataError: the name promises a format that the file does not have.
    """
    with path.open("rb") as file:
        start = file.read(64)
    suffix = path.suffix.lower()
    if start.startswith((b"PAR1", b"ARROW1")) or suffix in (".parquet", ".arrow", ".feather", ".ipc"):
        if start.startswith(b"FEA1"):
            raise DataError(f"{path}: is Feather version 1; write it again as version 2, or as Parquet")
        if start and not start.startswith((b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")):
            raise DataError(f"{path}: is called {suffix} but is not such a file; it begins with {start[:8]!r}")
        return Format.COLUMNS
    if suffix in (".jsonl", ".ndjson", ".json") or re.match(rb"\s*(\xef\xbb\xbf)?\{\s*\"", start):
        return Format.OBJECTS
    return Format.TEXT


def read_rows(path: Path, *, missing: Sequence[str] = MISSING) -> Raw:
    """Read one file; a column of texts that are all numbers becomes numbers, dates stay texts.

    Args:
        path: a file as for `read_table`, with a header.
        missing: markers of a missing value, which becomes null.

    Raises:
        DataError: the file is not a table, or has rows that cannot be read.
    """
    check_file(path, most=LARGEST)
    options = Options(missing=tuple(missing), header=True, on_bad=OnBad.SKIP, most_bad=1.0)
    try:
        raw = read_file(path, options, most=LARGEST)
    except SettableError as error:
        raise DataError(error.wrong) from error
    if raw.bad:
        count = f" ({len(raw.bad)} of {raw.total} rows are bad)" if len(raw.bad) > 1 else ""
        raise DataError(f"{raw.bad[0]}{count}; correct the file")
    decimals = raw.separator not in ("", ",")
    columns = [plain_numbers(missing_as_null(raw.frame[n], options.missing), decimals) for n in raw.frame.columns]
    return replace(raw, frame=raw.frame.with_columns(columns))


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _aligned(part: Raw, first: Raw) -> Raw:
    """Give a further file the columns of the first, in their order and of their types."""
    import polars as pl

    names = first.frame.columns
    if lost := [name for name in names if name not in part.frame.columns]:
        near = nearest_column(lost[0], part.frame.columns)
        raise DataError(f"{part.files[0]}: has no column {lost[0]}{near}, which {first.files[0]} has")
    extra = [name for name in part.frame.columns if name not in names]
    notes = (f"{Path(part.files[0]).name}: column {name} is left out: the first file has none" for name in extra)
    columns, texts = [], set(part.texts) | set(first.texts)
    for name in names:
        wanted, values = first.frame.schema[name], part.frame[name]
        if values.dtype != wanted and name not in texts:
            values = values.cast(wanted, strict=False)
            if values.null_count() > part.frame[name].null_count():
                found = part.frame[name].dtype
                raise DataError(
                    f"{part.files[0]}: column {name} is of type {found}, expected {wanted} as in {first.files[0]}"
                )
        columns.append(values if name not in texts else values.cast(pl.String))
    return replace(part, frame=pl.DataFrame(columns), notes=(*part.notes, *notes), texts=first.texts)


def nearest_column(name: str, columns: Sequence[str]) -> str:
    """Return `; did you mean X?` for the column whose name is like this one, else nothing."""
    plain = {column.lower().strip(): column for column in reversed(columns)}
    near = difflib.get_close_matches(name.lower().strip(), plain, 1, 0.6)
    return f"; did you mean {plain[near[0]]}?" if near else ""


def instead_of(name: str, columns: Sequence[str]) -> str:
    """Return the end of a message about a missing column: the one whose name is like it, and all that there are."""
    return f"{nearest_column(name, columns)} (columns: {', '.join(columns)})"


def check_columns(names: Sequence[str], columns: Sequence[str], path: Path | str) -> None:
    """Raise DataError unless a file has columns of these names."""
    if lost := [name for name in names if name not in columns]:
        raise DataError(f"{path}: has no column {lost[0]}{instead_of(lost[0], columns)}")


def columns_of(path: str | None) -> str:
    """List the columns of a file for a message, as far as it can be read."""
    if path is None:
        return ""
    try:
        table = read_table([Path(path).expanduser().absolute()], Options(), most=ROOM)
    except (DataError, ConfigError):
        return ""
    return f"; {path} has {', '.join(table.frame.columns)}"
