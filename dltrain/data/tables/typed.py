"""Reading files that hold typed columns: Parquet, Feather or Arrow, and JSON lines."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.bad import Bad, bad_row, check_bad, quoted
from dltrain.data.tables.content import read_content
from dltrain.data.tables.options import Options
from dltrain.data.tables.raw import Raw
from dltrain.errors import DataError


def read_columns(path: Path, *, most: int) -> Raw:
    """Read a Parquet, Feather or Arrow file.

    Args:
        path: the file.
        most: largest number of bytes that the table may take in memory.

    Raises:
        DataError: the file is damaged, cut short, or declares more than fits into memory.
    """
    import polars as pl

    with path.open("rb") as file:
        start = file.read(8)
    kind = "Parquet" if start.startswith(b"PAR1") else "Feather or Arrow"
    try:
        if kind == "Parquet":
            scanned = pl.scan_parquet(path, glob=False)
            width = sum(_width(dtype) for dtype in scanned.collect_schema().values())
            _refuse_bomb(path, scanned.select(pl.len()).collect().item(), width, most)
            frame = scanned.collect()
        elif start.startswith(b"ARROW1"):
            frame = pl.read_ipc(path)
        else:
            frame = pl.read_ipc_stream(path)
    except (pl.exceptions.PolarsError, OSError, ValueError, pl.exceptions.PanicException) as error:
        why = str(error).splitlines()[0][:120]
        raise DataError(f"{path}: the {kind} file is damaged or cut short ({why}); write it again") from error
    if not frame.width or not len(frame):
        raise DataError(f"{path}: has {frame.width} columns and no rows")
    return make_raw(frame, path, f"{path.name}: {len(frame):,} rows, {kind}")


def make_raw(
    frame: Any, path: Path | str, note: str, *, unit: str = "row", lines: np.ndarray | None = None, **more: Any
) -> Raw:
    """Return typed columns of a file, without those that hold lists or records; a note says so.

    Args:
        frame: the columns, a polars frame.
        path: the file.
        note: what was detected.
        unit: `row` or `line`, which `lines` counts.
        lines: the row of each as the file counts it, int [N]; None: from 1.
        **more: further attributes.
    """
    plain = [name for name, dtype in frame.schema.items() if not dtype.is_nested() and _width(dtype)]
    lost = [name for name in frame.columns if name not in plain]
    notes = [f"{Path(path).name}: column {n} is left out: it holds {_kind(frame[n])}" for n in lost]
    frame, count = frame.select(_plain(frame[name]) for name in plain), len(frame)
    rows = np.arange(1, count + 1) if lines is None else lines
    more = {"total": count, **more}
    return Raw(frame, (str(path),), np.zeros(count, np.int16), rows, (unit,), notes=(note, *notes), **more)


def _kind(values: Any) -> str:
    dtype = str(values.dtype).partition("(")[0]
    return {"List": "lists", "Array": "lists", "Struct": "records", "Binary": "bytes"}.get(dtype, f"{dtype} values")


def _width(dtype: Any) -> int:
    """Return the bytes of a value in memory, 0 of one that is not used."""
    import polars as pl

    if dtype in (pl.Binary, pl.Object):
        return 0
    return 16 if dtype == pl.String or dtype.is_nested() else 8


def _plain(values: Any) -> Any:
    """Return a column as one of the types that the rest of dltrain knows."""
    import polars as pl

    dtype = values.dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return values.cast(pl.String)
    if isinstance(dtype, pl.Decimal) or dtype == pl.Float32:
        return values.cast(pl.Float64)
    if dtype == pl.Duration:
        return (values.dt.total_microseconds() / 1e6).alias(values.name)
    if dtype == pl.Time:
        return (values.cast(pl.Int64) / 1e9).alias(values.name)
    return values


def _refuse_bomb(path: Path, rows: int, width: int, most: int) -> None:
    if rows * width > most:
        raise DataError(
            f"{path}: declares {rows:,} rows, {rows * width:,} bytes or more, which do not fit into memory "
            f"({most:,} bytes); take a part of it"
        )


def read_jsonl(path: Path, options: Options, *, most: int) -> Raw:
    """Read JSON lines: an object with the columns of a row on each line.

    Raises:
        DataError: a line is not an object.
    """
    content = read_content(path, encoding=options.encoding, most=most).data
    found = parse_jsonl(content, path)
    check_bad(found.bad, len(found.lines) + len(found.bad), options)
    if not len(found.lines):
        raise DataError(f"{path}: has no rows")
    about = {"texts": found.mixed, "bad": tuple(found.bad), "total": len(found.lines) + len(found.bad)}
    note = f"{path.name}: {len(found.lines):,} rows, JSON lines"
    return make_raw(found.frame, path, note, unit="line", lines=found.lines, **about)


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of JSON lines.

    Attributes:
        frame: a polars frame, a row for each.
        lines: the line of each, int [R].
        bad: lines that are no objects.
        mixed: columns whose values were of several types, and are texts now.
    """

    frame: Any
    lines: np.ndarray
    bad: Sequence[Bad]
    mixed: tuple[str, ...] = ()


def parse_jsonl(content: bytes, path: Path, *, first: int = 1) -> Objects:
    """Read the objects of JSON lines; `first` is the number of the first line.

    Raises:
        DataError: it is one JSON list.
    """
    import polars as pl

    if b"\n" not in content.strip() and content.strip().startswith(b"["):
        raise DataError(f"{path}: is one JSON list; expected JSON lines, an object on each line")
    try:
        frame = pl.read_ndjson(content, infer_schema_length=None)
        blank = re.search(rb"(?m)^\s*$", content.rstrip())
        whole = content.count(b"\n", 0, len(content.rstrip())) + 1 == len(frame)
        if not blank and whole and not _is_mixed(content, frame):
            return Objects(frame, np.arange(first, first + len(frame)), ())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        pass  # the slow way below finds the line
    records, lines, bad = [], [], []
    for number, found in _objects(content, first):
        if isinstance(found, dict):
            records.append(found)
            lines.append(number)
        else:
            bad.append(bad_row(str(path), f"line {number}", "", found, 'an object such as {"a": 1}'))
    frame, mixed = _typed_frame(records)
    return Objects(frame, np.array(lines, int), bad, mixed)


def _objects(content: bytes, first: int = 1) -> Iterator[tuple[int, Any]]:
    """Yield the number of each line that is not blank, and its object, or what was found instead, as text."""
    for number, line in enumerate(content.split(b"\n"), first):
        if not line.strip():
            continue
        try:
            found = json.loads(line, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            yield number, f"{quoted(line.decode('utf-8', 'replace').strip())} ({error})"
            continue
        yield number, found if isinstance(found, dict) else f"{quoted(found)}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)} twice")
    return found


def _is_mixed(content: bytes, frame: Any) -> bool:
    """Tell whether a column of texts also holds other values, or a key occurs twice in the first line."""
    import polars as pl

    first = content.partition(b"\n")[0]
    if any(isinstance(found, str) for _, found in _objects(first)):
        return True
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    return any(re.search(rb'"%b"\s*:\s*[^"\sn]' % re.escape(json.dumps(n)[1:-1].encode()), content) for n in texts)


def _typed_frame(records: list[dict[str, Any]]) -> tuple[Any, tuple[str, ...]]:
    """Make columns of JSON values; those of several types become texts, to be judged like those of a text file."""
    import polars as pl

    names = list({name: None for record in records for name in record})
    columns, mixed = {}, []
    for name in names:
        values = [record.get(name) for record in records]
        kinds = {type(value) for value in values if value is not None}
        if kinds <= {int, float} or len(kinds) <= 1:
            columns[name] = pl.Series(
                name, values, strict=False, dtype=pl.Float64 if kinds == {int, float} else None
            )
        else:
            mixed.append(name)
            columns[name] = pl.Series(
                name, [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
            )
    return pl.DataFrame(columns), tuple(mixed)
