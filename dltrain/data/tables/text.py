"""Reading CSV, TSV and other text files with separated fields: all columns as texts, whole rows only."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.bad import Bad, bad_row, check_bad
from dltrain.data.tables.content import Content, read_content
from dltrain.data.tables.dialect import ROWS, Dialect, find_dialect, split_fields
from dltrain.data.tables.options import Options, SettableError
from dltrain.data.tables.raw import Raw
from dltrain.data.tables.structure import Rows, blocks, find_rows
from dltrain.errors import DataError


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of a part of a file.

    Attributes:
        frame: the whole ones, a polars frame of texts.
        lines: where each begins in the file, int [R].
        bad: the others.
        total: number of both.
    """

    frame: Any
    lines: np.ndarray
    bad: Sequence[Bad]
    total: int


def read_text(path: Path, options: Options, *, most: int, names: Sequence[str] = ()) -> Raw:
    """Read a text file.

    Args:
        path: the file.
        options: what the user set.
        most: largest number of bytes, unpacked.
        names: names of the columns of the file before, which a file without header shares.

    Raises:
        DataError: the file is not a table, or has a row that is not whole.
    """
    import polars as pl

    content = read_content(path, encoding=options.encoding, most=most)
    data = without_comments(content.data, options.comment)
    if not data.strip():
        raise DataError(f"{path}: has only comments; expected a header and rows")
    dialect = find_dialect(data, options, suffix=path.suffix.lower())
    found = list(read_blocks(path, blocks(data, dialect.quote), dialect, options, names=names))
    bad, total = tuple(row for block in found for row in block.bad), sum(block.total for block in found)
    check_bad(bad, total, options)
    if not any(len(block.lines) for block in found):
        raise DataError(f"{bad[0]} (all rows are bad)" if bad else f"{path}: has a header but no rows")
    lines = np.concatenate([block.lines for block in found])
    note = f"{path.name}: {len(lines):,} rows, {_described(content, dialect)}"
    return Raw(
        frame := pl.concat([block.frame for block in found]),
        (str(path),),
        np.zeros(len(lines), np.int16),
        lines,
        ("line",),
        texts=tuple(frame.columns),
        notes=(note,),
        bad=bad,
        total=total,
        separator=dialect.separator,
    )


def read_blocks(
    path: Path,
    parts: Iterable[tuple[int, bytes]],
    dialect: Dialect,
    options: Options,
    *,
    names: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> Iterator[Block]:
    """Read the parts of a text file in their order.

    Args:
        path: the file, for messages.
        parts: the line in which each begins, and its bytes, UTF-8 without comments.
        dialect: how fields are written.
        options: what the user set.
        names: names of the columns of the file before, which a file without header shares.
        columns: those of this file, if the parts follow others; the first is then no header.

    Raises:
        DataError: a quote is not closed, or the names of the columns are wrong.
    """
    for line, part in parts:
        rows = find_rows(part, dialect.separator, dialect.quote, line=line)
        if rows.stray:
            raise SettableError(
                f"{path}, line {rows.stray}: a quote ({dialect.quote}) opens a field that is not closed, or stands "
                "inside one; double it inside a field",
                ", or read quotes as ordinary characters with data.quote=none",
            )
        if not columns:
            if not len(rows.starts):
                continue  # only comments
            columns, rows = _names(path, rows, dialect, options, names)
        good, bad = _check(path, rows, columns, dialect)
        frame = _parse(rows.select(good), dialect, columns)
        if len(frame) != good.sum():
            raise DataError(f"{path}: {good.sum()} rows were found, but {len(frame)} read; please report this")
        yield Block(frame, rows.lines[good], bad, len(rows.starts))


def without_comments(data: bytes, comment: str | None) -> bytes:
    """Empty the lines that begin with a comment, so that lines keep their numbers."""
    if not comment:
        return data
    return re.sub(rb"(?m)^[ \t]*%b[^\n]*" % re.escape(comment.encode()), b"", data)


def _described(content: Content, dialect: Dialect) -> str:
    quotes = {"": "", '"': "", "'": ", quoted by '"}.get(dialect.quote, f", quoted by {dialect.quote}")
    lines = ", CRLF" if b"\r\n" in content.data[:1000] else ""
    mark = " with byte order mark" if content.marked else ""
    return f"{dialect.words}{quotes}, {content.encoding}{mark}{lines}"


def _names(
    path: Path, rows: Rows, dialect: Dialect, options: Options, given: Sequence[str]
) -> tuple[list[str], Rows]:
    """Return the names of the columns, and the rows without the header."""
    if not len(rows.starts):
        raise DataError(f"{path}: is empty; expected a table with a header and rows")
    wide = int(np.bincount(rows.fields[:ROWS]).argmax())
    names = list(options.columns or given) or [f"column_{i}" for i in range(1, wide + 1)]
    if dialect.header:
        found = _header(path, rows, dialect, unique=not options.columns)
        wide = len(found)
        names = list(options.columns) or found
        rest = {name: getattr(rows, name)[1:] for name in ("starts", "ends", "fields", "lines")}
        shift = rows.ends[0] + 1
        rest |= {"starts": rest["starts"] - shift, "ends": rest["ends"] - shift}
        rows = Rows(rows.data[shift:], **rest, stray=0)
    if len(names) != wide:
        what = "data.columns names" if options.columns else "the file before has"
        raise DataError(f"{path}: has {wide} columns, but {what} {len(names)}: {', '.join(names)}")
    return names, rows


def _header(path: Path, rows: Rows, dialect: Dialect, *, unique: bool) -> list[str]:
    text = rows.data[rows.starts[0] : rows.ends[0]].decode("utf-8", "replace")
    found = [
        name or f"column_{i}" for i, name in enumerate(split_fields(text, dialect.separator, dialect.quote), 1)
    ]
    for name in found if unique else ():
        if (count := found.count(name)) > 1:
            places = " and ".join(str(i) for i, other in enumerate(found, 1) if other == name)
            raise SettableError(
                f"{path}, line {rows.lines[0]}: {count} columns have the name {name} (columns {places}); rename "
                "them in the file",
                ", or name all columns with data.columns=[...]",
            )
    return found


def _check(path: Path, rows: Rows, columns: Sequence[str], dialect: Dialect) -> tuple[np.ndarray, list[Bad]]:
    """Find the rows that are not whole: bool [R] for those that are, and what is wrong with the others."""
    good = rows.fields == len(columns)
    bad = []
    for i in np.flatnonzero(~good):
        like = "the header has" if dialect.header else "other rows have"
        expected = f"{len(columns)} ({dialect.words.partition(',')[0]}), as {like}"
        count = int(rows.fields[i])
        found = f"{count} field{'s' * (count != 1)}"
        bad.append(bad_row(str(path), f"line {rows.lines[i]}", "", found, expected))
    if b"\0" in rows.data:
        zeros = np.flatnonzero(np.frombuffer(rows.data, np.uint8) == 0)
        held = np.searchsorted(rows.starts, zeros, "right") - 1
        for i in np.unique(held):
            if good[i]:
                good[i] = False
                bad.append(bad_row(str(path), f"line {rows.lines[i]}", "", "a NUL byte", "text"))
        bad.sort(key=lambda row: int(row.row.partition(" ")[2]))
    return good, bad


def _parse(data: bytes, dialect: Dialect, columns: Sequence[str]) -> Any:
    import polars as pl

    if not data:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    return pl.read_csv(
        data,
        has_header=False,
        schema=dict.fromkeys(columns, pl.String),
        separator=dialect.separator,
        quote_char=dialect.quote or None,
        infer_schema=False,
    )
