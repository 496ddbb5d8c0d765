"""Sequences of different lengths, padded to one length: an npz file, or a table with one row per time step."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.check import check_examples, check_weights
from dltrain.data.preprocess.offset import narrowed
from dltrain.data.series.columns import Fill
from dltrain.data.series.long import read_long
from dltrain.data.sources.files import check_file
from dltrain.data.sources.npz import DAMAGED, size_of
from dltrain.data.sources.rows import Rows, make_rows
from dltrain.errors import ConfigError, DataError, MemoryExhausted
from dltrain.types import Kind

KNOWN = ("inputs", "targets", "lengths", "weights", "vocabulary", "classes")
LARGEST = 1 << 34  # bytes of one array
MIB = 1 << 20
TABLES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson")


def load_sequences(
    path: str | None = None,
    *,
    id: str | None = None,
    target: str | Sequence[str] | None = None,
    time: str | None = None,
    columns: Sequence[str] | None = None,
    fill: Fill | None = None,
    task: Any = None,
    memory_left: int | None = None,
) -> Rows:
    """Load the examples of an npz file, or of a table (CSV, TSV, Parquet, JSON lines); without a published split.

    In a table, the rows with the same `id` are the steps of one sequence, and have the same target. An npz file
    holds
        `inputs`: numbers [N, L, F], or whole numbers [N, L], the tokens of the `vocabulary`;
        `targets`: labels [N] (whole numbers from 0), or numbers [N] or [N, T] for a regression;
        `lengths` (optional): [N], the number of valid steps of each example, 1..L; steps after them are ignored;
        `weights` (optional): [N], the weight of each example in the loss, 0 or more; metrics ignore it;
        `vocabulary` (with tokens only): texts [V], the tokens in the order of their numbers;
        `classes` (optional): texts [K], names of the labels; by default their numbers.

    Args:
        path: the table, or the file as `numpy.savez` or `numpy.savez_compressed` write it; nothing is unpickled.
        id: of a table: column that tells the sequences apart.
        target: of a table: column of the class, or columns of numbers.
        time: of a table: column by which rows are sorted; None: they are in order.
        columns: of a table: inputs; None: every other column of numbers.
        fill: of a table: what takes the place of missing inputs; None: they are refused.
        task: whether whole numbers are labels or numbers; None for labels.
        memory_left: bytes that the arrays may take after decompression; None for no limit.

    Raises:
        DataError: the file is missing or damaged, or an array is missing, unknown or does not fit the others.
        MemoryExhausted: the arrays would take more than `memory_left`.
    """
    if path is None:
        raise ConfigError("data.path: missing; set data.path=FILE, an npz file or a table")
    file = Path(path).expanduser().absolute()
    if file.suffix.lower() in TABLES:
        about = {"id": id, "target": target, "time": time, "columns": columns, "fill": fill}
        return read_long(file, **about, task=task, memory_left=memory_left)
    if id is not None or target is not None:
        raise ConfigError(f"data.{'id' if id else 'target'}: is for tables ({', '.join(TABLES)}), not for {file}")
    found = _load(file, memory_left)
    vocabulary, names = (_names(found, part, file) for part in ("vocabulary", "classes"))
    inputs, kind = _inputs(found["inputs"], vocabulary, file)
    targets, classes = _targets(found["targets"], names, task, file)
    arrays: dict[str, Any] = {"inputs": inputs, "targets": targets}
    kinds: Any = kind
    if "lengths" in found:
        lengths = _whole(found["lengths"], 1, "lengths", file)
        inside = np.arange(inputs.shape[1])[None, :] < lengths[:, None]
        if len(inside) == len(inputs):  # else `check_examples` complains
            inputs[~inside] = 0
        arrays["inputs"] = {str(kind): inputs, "length": lengths}
        kinds = {str(kind): kind, "length": Kind.LENGTH}
    if "weights" in found:
        arrays["weights"] = _numbers(found["weights"], 1, "weights", file)
    rows = make_rows(arrays, kind=kinds, classes=classes, vocabulary=vocabulary)
    check_examples(arrays, rows.spec, name=str(file))
    if "weights" in arrays:
        check_weights(arrays["weights"], name=str(file), some=True)
    return rows


def _load(file: Path, memory_left: int | None) -> dict[str, np.ndarray]:
    """Read every array; names and sizes are checked before memory is allocated."""
    check_file(file, most=len(KNOWN) * LARGEST)
    try:
        with zipfile.ZipFile(file) as archive:
            found = {Path(entry.filename).stem: size_of(archive, entry) for entry in archive.infolist()}
            sizes = {part: held for part, (held, _) in found.items()}
        if unknown := sorted(set(sizes) - set(KNOWN)):
            raise DataError(f"{file}: holds {unknown[0]}, which is unknown; expected {', '.join(KNOWN)}")
        if missing := [part for part in ("inputs", "targets") if part not in sizes]:
            raise DataError(f"{file}: holds no {missing[0]}, only {', '.join(sizes) or 'nothing'}")
        if too_large := next((part for part, size in sizes.items() if size > LARGEST), None):
            raise DataError(f"{file}: {too_large} takes {sizes[too_large]} bytes, expected at most {LARGEST}")
        taken = sum(held + 4 * count for held, count in found.values())  # as stored, and converted to 32 bits
        if memory_left is not None and taken > memory_left:
            raise MemoryExhausted(
                f"{file}: {sum(sizes.values()) / MIB:,.0f} MiB decompressed take {taken / MIB:,.0f} MiB while "
                f"they are read, and {max(0, memory_left) / MIB:,.0f} MiB are left; leave out examples, or shorten "
                "the sequences"
            )
        with np.load(file, allow_pickle=False) as archive:
            return {part: archive[part] for part in sizes}
    except OSError as error:
        raise DataError(f"{file} (data.path): cannot be read ({error.strerror or error})") from error
    except DAMAGED as error:
        raise DataError(f"{file}: is not an npz file as numpy.savez writes it, or is damaged ({error})") from error


def _names(found: Mapping[str, np.ndarray], part: str, file: Path) -> tuple[str, ...]:
    if part not in found:
        return ()
    names = found[part]
    if names.dtype.kind != "U" or names.ndim != 1 or not names.size:
        raise DataError(f"{file}: {part} must be texts on one axis, found {names.dtype} {list(names.shape)}")
    if len(set(names.tolist())) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise DataError(f"{file}: {part} holds {str(twice)!r} twice")
    return tuple(names.tolist())


def _inputs(inputs: np.ndarray, vocabulary: tuple[str, ...], file: Path) -> tuple[np.ndarray, Kind]:
    tokens = np.issubdtype(inputs.dtype, np.integer) and inputs.ndim == 2
    if vocabulary and not tokens:
        raise DataError(f"{file}: with a vocabulary, inputs must be whole numbers [N, L], found {_told(inputs)}")
    if tokens and not vocabulary:
        raise DataError(
            f"{file}: inputs {list(inputs.shape)} are whole numbers, which are tokens: the vocabulary is missing; "
            "for numbers give [N, L, F]"
        )
    if 0 in inputs.shape:
        raise DataError(f"{file}: inputs {list(inputs.shape)} are empty")
    if tokens:
        return _whole(inputs, 2, "inputs", file), Kind.TOKENS
    return _numbers(inputs, 3, "inputs", file), Kind.SEQUENCE


def _targets(
    targets: np.ndarray, names: tuple[str, ...], task: Any, file: Path
) -> tuple[np.ndarray, tuple[str, ...]]:
    numbers = task is not None and task.target_kind is Kind.NUMBERS
    labels = targets.ndim == 1 and targets.dtype.kind in "iu" and not numbers
    if not labels:
        if names:
            raise DataError(f"{file}: classes are for labels, whole numbers [N]; found targets {_told(targets)}")
        return _numbers(targets.reshape(len(targets), -1), 2, "targets", file), ()
    labels = _whole(targets, 1, "targets", file)
    most = max(1, int(labels.max(initial=1)))
    if not names and most > 9999:
        raise DataError(f"{file}: the largest label is {most}; name the classes, or use floats for a regression")
    classes = names or tuple(map(str, range(most + 1)))
    return labels, classes


def _whole(array: np.ndarray, axes: int, part: str, file: Path) -> np.ndarray:
    if array.dtype.kind not in "iu" or array.ndim != axes:
        raise DataError(f"{file}: {part} must be whole numbers on {axes} axes, found {_told(array)}")
    bounds = np.iinfo(np.int32)
    if array.size and not bounds.min <= int(array.min()) <= int(array.max()) <= bounds.max:
        raise DataError(f"{file}: {part} from {array.min()} to {array.max()} do not fit 32 bits")
    return array.astype(np.int32)


def _numbers(array: np.ndarray, axes: int, part: str, file: Path) -> np.ndarray:
    if array.dtype.kind not in "iuf" or array.ndim != axes:
        raise DataError(f"{file}: {part} must be numbers on {axes} axes, found {_told(array)}")
    if axes > 1:
        return narrowed(array)
    with np.errstate(over="ignore"):  # becomes infinite, which `check_examples` finds
        return array.astype(np.float32)


def _told(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
