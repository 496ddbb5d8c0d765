"""Sequences in a long table, one row per time step: the rows with one identifier are one example."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.series.columns import Fill, fill_in, is_numeric, read_values, to_32_bits
from dltrain.data.series.read import MISSING
from dltrain.data.series.times import check_order, parse_times
from dltrain.data.sources.rows import Rows, make_rows
from dltrain.data.tables.frames import as_frame
from dltrain.data.tables.raw import Raw
from dltrain.data.tables.read import check_columns, read_rows
from dltrain.errors import ConfigError, DataError, MemoryExhausted
from dltrain.types import Kind

MIB = 1 << 20


def read_long(
    path: Path,
    *,
    id: str | None,
    target: str | Sequence[str] | None,
    time: str | None = None,
    columns: Sequence[str] | None = None,
    fill: Fill | None = None,
    task: Any = None,
    memory_left: int | None = None,
) -> Rows:
    """Read the sequences: inputs float [N, L, F] and `length`, targets the same in all rows of a sequence.

    Args:
        path: a table with a header.
        id: column of the identifier; sequences are in the order of their first rows.
        target: column of the class, or columns of numbers.
        time: column by which the rows of a sequence are sorted; None: they are in order.
        columns: inputs; None: every other column of numbers.
        fill: what takes the place of missing inputs; None: they are refused.
        task: whether whole numbers are classes or numbers; None for classes.
        memory_left: bytes that the padded sequences may take; None for no limit.

    Raises:
        ConfigError: a key is missing.
        DataError: the file cannot be read, a column does not exist, or a target changes within a sequence.
        MemoryExhausted: the padded sequences would take more than `memory_left`.
    """
    if id is None or target is None:
        raise ConfigError(
            f"data.{'id' if id is None else 'target'}: missing; a table of sequences needs the column that tells "
            "them apart (data.id) and the column to predict (data.target)"
        )
    raw, targets = read_rows(path, missing=MISSING), [target] if isinstance(target, str) else list(target)
    frame = raw.frame
    check_columns([id, *targets, *([time] if time else []), *(columns or [])], frame.columns, path)
    order, line, offsets, names = _sequences(raw, id, time, path)
    inputs = list(columns or _inputs(raw, {id, time, *targets}, path))
    values = read_values(raw, inputs, order)
    fill_in(values, inputs, offsets, line, fill, path)
    lengths = np.diff(offsets)
    padded = len(names) * int(lengths.max()) * len(inputs) * 4
    if memory_left is not None and padded > memory_left:
        raise MemoryExhausted(
            f"{path}: {len(names):,} sequences padded to {lengths.max():,} rows take {padded / MIB:,.0f} MiB, and "
            f"{max(0, memory_left) / MIB:,.0f} MiB are left; shorten the longest sequences"
        )
    arrays = _padded(to_32_bits(values, inputs, line, path), offsets)
    found, classes = _targets(raw, targets, names, order, offsets, line, task, path)
    rows = make_rows(
        {"inputs": {"sequence": arrays, "length": lengths.astype(np.int32)}, "targets": found},
        kind={"sequence": Kind.SEQUENCE, "length": Kind.LENGTH},
        classes=classes,
        features=inputs,
        target_names=() if classes else targets,
    )
    rows.encoder = SequenceEncoder(id, time, tuple(inputs), int(lengths.max()), fill)
    return rows


@dataclass(frozen=True)
class SequenceEncoder:
    """Turns rows into padded sequences; see `dltrain.data.preprocess.step.Encoder`.

    Attributes:
        id: column that tells the sequences apart.
        time: column by which the rows of a sequence are sorted; None: they are in order.
        inputs: the columns of a step.
        longest: steps of the longest training sequence; later ones have no more.
        fill: what takes the place of missing values; None: they are refused.
    """

    id: str
    time: str | None
    inputs: tuple[str, ...]
    longest: int
    fill: Fill | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a file that are used."""
        return (self.id, *([self.time] if self.time else []), *self.inputs)

    def encode(self, records: Any) -> Any:
        """Return the sequences in the order of their first rows, with their lengths; arrays stay as they are.

        Args:
            records: the rows: a data frame, columns by name, or a list of dicts.

        Raises:
            DataError: a column is missing, or a sequence is longer than those of training.
        """
        if isinstance(records, Mapping) and set(records) == {"sequence", "length"}:
            return records
        frame = as_frame(records)
        rows = np.arange(len(frame))
        raw = Raw(frame, ("inputs",), np.zeros(len(frame), np.int16), rows, ("row",))
        return self.sequences(raw, Path("inputs"))[0]

    def sequences(self, raw: Raw, path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
        """Return the arrays of the sequences of a file, and their identifiers.

        Raises:
            DataError: a column is missing, or a sequence is longer than those of training.
        """
        check_columns(self.columns, raw.frame.columns, path)
        order, line, offsets, names = _sequences(raw, self.id, self.time, path)
        values = read_values(raw, self.inputs, order)
        fill_in(values, self.inputs, offsets, line, self.fill, path)
        lengths = np.diff(offsets)
        if (long := int(lengths.max())) > self.longest:
            name = names[int(np.argmax(lengths))]
            raise DataError(
                f"{path}: the sequence {name} has {long} rows, those of training at most {self.longest}"
            )
        found = _padded(to_32_bits(values, self.inputs, line, path), offsets)
        wide = np.pad(found, ((0, 0), (0, self.longest - found.shape[1]), (0, 0)))
        return {"sequence": wide, "length": lengths.astype(np.int32)}, names

    def to_json(self) -> dict[str, Any]:
        """Return the columns and the length."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "SequenceEncoder":
        """Rebuild the encoder."""
        fill = None if saved["fill"] is None else Fill(saved["fill"])
        return cls(saved["id"], saved["time"], tuple(saved["inputs"]), int(saved["longest"]), fill)


def _sequences(raw: Raw, id: str, time: str | None, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, list]:
    """Return the order of the rows, their lines in the file, where each sequence begins, and the identifiers."""
    frame, line = raw.frame, raw.rows
    column = frame[id].cast(str)
    if column.null_count():
        raise DataError(f"{path}: row {line[int(column.is_null().arg_max())]} has no {id} (data.id)")
    names = column.unique(maintain_order=True).to_list()
    numbers = {name: i for i, name in enumerate(names)}
    codes = np.array([numbers[name] for name in column], np.int64)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(codes))])
    if time is None:
        order = np.argsort(codes, kind="stable")
        return order, line[order], offsets, names
    times = parse_times(frame[time], time_format=None, where=f"{path}: {time}", line=line)
    order = np.lexsort((times, codes))
    for name, low, high in zip(names, offsets[:-1], offsets[1:], strict=True):
        rows = order[low:high]
        check_order(times[rows], where=f"{path}: {time}", line=line[rows], who=f" ({id} {name})")
    return order, line[order], offsets, names


def _inputs(raw: Raw, others: set[Any], path: Path) -> list[str]:
    frame = raw.frame
    found = [name for name in frame.columns if name not in others and is_numeric(raw, name)]
    if not found:
        raise DataError(f"{path}: has no column of numbers for the inputs (columns: {', '.join(frame.columns)})")
    return found


def _padded(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return rows [N, F] of sequences, one after the other, as [S, L, F] with zeros after their ends."""
    lengths = np.diff(offsets)
    found = np.zeros((len(lengths), int(lengths.max()), values.shape[1]), values.dtype)
    inside = np.arange(found.shape[1])[None, :] < lengths[:, None]
    found[inside] = values
    return found


def _targets(
    raw: Raw,
    targets: list[str],
    names: list[str],
    order: np.ndarray,
    offsets: np.ndarray,
    line: np.ndarray,
    task: Any,
    path: Path,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the target of each sequence: labels int32 [S] and the classes, or numbers float32 [S, T]."""
    frame = raw.frame
    for name in targets:
        column = frame[name][order]
        if column.null_count():
            raise DataError(f"{path}: row {line[int(column.is_null().arg_max())]} has no {name} (data.target)")
        same = (column == column[np.repeat(offsets[:-1], np.diff(offsets))]).to_numpy()
        if not same.all():
            bad = int(np.argmin(same))
            which = int(np.searchsorted(offsets, bad, side="right")) - 1
            raise DataError(
                f"{path}: row {line[bad]}: {name} is {column[bad]!r}, but {column[int(offsets[which])]!r} in row "
                f"{line[offsets[which]]} of the same sequence ({names[which]}); a sequence has one target"
            )
    firsts = order[offsets[:-1]]
    numbers = task is not None and task.target_kind is Kind.NUMBERS
    if numbers or len(targets) > 1:
        values = read_values(raw, targets, firsts)
        return to_32_bits(values, targets, line[offsets[:-1]], path), ()
    labels = frame[targets[0]][firsts]
    levels = labels.unique().sort().to_list()
    places = {level: i for i, level in enumerate(levels)}
    return np.array([places[label] for label in labels], np.int32), tuple(str(level) for level in levels)
