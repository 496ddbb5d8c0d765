"""A text file that does not fit into memory -> Parquet files in dltrain's cache, a part of it after the other.

After each part is written down how far the conversion is, so that an interrupted one continues.
"""

import codecs
import json
import mmap
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.bad import Bad, OnBad, check_bad
from dltrain.data.progress import progress
from dltrain.data.store import Store, open_folder
from dltrain.data.tables.dialect import HEAD, Dialect, find_dialect
from dltrain.data.tables.options import Options
from dltrain.data.tables.structure import blocks
from dltrain.data.tables.text import Block, read_blocks, without_comments
from dltrain.errors import DataError, DiskError

GROUP = 1 << 18  # rows that Parquet keeps together
BLOCK = 1 << 24  # bytes that are read together
STATE = "state.json"
RULE = 3  # the version of what is written; another one is converted again


@dataclass(frozen=True)
class Columnar:
    """A converted file.

    Attributes:
        files: Parquet, one below the other; all columns are texts.
        lines: the line in which each row begins, int32 [rows].
        bad: rows that are left out.
        separator: of the fields.
        store: keeps the files of the cache.
    """

    files: tuple[Path, ...]
    lines: np.ndarray
    bad: tuple[Bad, ...]
    separator: str
    store: Store


@dataclass
class _State:
    """How far a conversion is: parts written, where the next one begins, and what was found."""

    parts: int
    offset: int
    line: int = 1
    total: int = 0
    columns: list[str] = field(default_factory=list)
    bad: list[list[str]] = field(default_factory=list)  # row, column, what is wrong


def open_columnar(path: Path, digest: str, options: Options) -> Columnar:
    """Convert a text file, unless this was done before.

    Args:
        path: the file.
        digest: SHA-256 of its content, hex.
        options: what the user set.

    Raises:
        DataError: it is not a table in UTF-8, or has bad rows that are not to be left out.
    """
    dialect, mark = dialect_of(path, options)
    how = [dialect.separator, dialect.quote, dialect.header, options.comment, list(options.columns)]
    key = {"content": digest, "how": how, "rule": RULE}
    size = path.stat().st_size
    store = open_folder(key, lambda folder: _convert(path, folder, dialect, options, mark), needed=size)
    state = _read_state(store.folder, mark)
    bad = tuple(Bad(str(path), *row) for row in state.bad)
    check_bad(bad, state.total, options)
    files, lines = ([_file(store.folder, what, i) for i in range(state.parts)] for what in ("rows", "lines"))
    numbers = np.concatenate([np.load(found) for found in lines] or [np.zeros(0, np.int32)])
    return Columnar(tuple(files), numbers, bad, dialect.separator, store)


def _convert(path: Path, folder: Path, dialect: Dialect, options: Options, mark: int) -> None:
    """Write the parts that are still missing."""
    state, size = _read_state(folder, mark), path.stat().st_size
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        progress(f"converting {path.name} to columns", size >> 20, done=state.offset >> 20, unit="MB") as advance,
    ):
        for line, part in blocks(data, dialect.quote, first=state.offset, line=state.line, size=BLOCK):
            check_utf8(path, part, line)
            whole = [(line, without_comments(part, options.comment))]
            for block in read_blocks(path, whole, dialect, options, columns=state.columns):
                _write(folder, state, block)
            if options.on_bad is OnBad.ERROR:
                check_bad([Bad(str(path), *row) for row in state.bad], state.total, options)
            advance((state.offset + len(part) >> 20) - (state.offset >> 20))
            state.offset, state.line = state.offset + len(part), line + part.count(b"\n")
            _write_state(folder, state)


def _write(folder: Path, state: _State, block: Block) -> None:
    block.frame.write_parquet(_file(folder, "rows", state.parts), compression="lz4", row_group_size=GROUP)
    np.save(_file(folder, "lines", state.parts), block.lines.astype(np.int32))
    state.parts, state.total, state.columns = state.parts + 1, state.total + block.total, block.frame.columns
    state.bad += [[bad.row, bad.column, bad.wrong] for bad in block.bad]


def _file(folder: Path, what: str, number: int) -> Path:
    return folder / f"{what}-{number:06}.{'parquet' if what == 'rows' else 'npy'}"


def _read_state(folder: Path, mark: int) -> _State:
    try:
        saved: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return _State(**saved)
    except FileNotFoundError:
        return _State(0, mark)
    except (ValueError, TypeError) as error:
        raise DiskError(
            f"{folder / STATE}: is damaged; remove the folder, and the file is converted again"
        ) from error


def _write_state(folder: Path, state: _State) -> None:
    draft = folder / f"{STATE}.new"
    draft.write_text(json.dumps(asdict(state)), encoding="utf-8")
    os.replace(draft, folder / STATE)


def check_utf8(path: Path, part: bytes, line: int) -> None:
    try:
        part.decode()
    except UnicodeDecodeError as error:
        where = line + part.count(b"\n", 0, error.start)
        raise DataError(
            f"{path}, line {where}: found the byte 0x{part[error.start]:02x}, expected UTF-8, as the file does not "
            "fit into memory; convert it to UTF-8 or Parquet"
        ) from error


def dialect_of(path: Path, options: Options) -> tuple[Dialect, int]:
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
