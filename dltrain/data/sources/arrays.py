"""Your own NumPy arrays: an `.npz` file, or a folder of `.npy` files, which are memory-mapped."""

import zipfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.sources.files import check_file
from dltrain.data.sources.fingerprint import fingerprint
from dltrain.data.sources.npz import DAMAGED, size_of
from dltrain.data.sources.rows import Rows, make_rows
from dltrain.errors import ConfigError, DataError, MemoryExhausted
from dltrain.types import Kind

LARGEST = 1 << 40  # bytes of a file
UNREADABLE = (OSError, *DAMAGED)
NAMES = ("inputs", "targets", "names", "weights")
COLOURS = (1, 3, 4)  # channels of images
KINDS = (Kind.NUMBERS, Kind.IMAGE, Kind.SEQUENCE)


def load_arrays(
    path: str | None = None, *, kind: Kind | None = None, task: Any = None, memory_left: int | None = None
) -> Rows:
    """Read arrays `inputs [N, ...]` and `targets [N, ...]`, and `names` of the classes if there are any.

    What the inputs are follows from their shape: [N, F] are columns of numbers; [N, H, W, C], and [N, H, W] of
    uint8, are images; [N, L, F] of other types are sequences. Whole numbers and texts as targets are classes,
    columns of 0 and 1 are labels, and floats are numbers. `weights [N]` say how much an example counts.

    Args:
        path: a file `.npz` with these arrays, or a folder with `inputs.npy`, `targets.npy` and so on.
        kind: what the inputs are, where the shape does not say it: numbers, image or sequence.
        task: what to do with the targets; None while that is not decided.
        memory_left: bytes that the arrays of an `.npz` may take; those of `.npy` files stay on the disk.

    Raises:
        ConfigError: a key is missing.
        DataError: an array is missing, damaged, or does not fit the others; names it.
        MemoryExhausted: the arrays of an `.npz` would take more than `memory_left`.
    """
    if path is None:
        raise ConfigError("data.path: missing; give an .npz file, or a folder of .npy files")
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"data.kind={kind}: expected {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    place = Path(path).expanduser().absolute()
    stamps = _stamps(place)
    if memory_left is not None and not place.is_dir():
        _check_size(place, memory_left)
    arrays, content = _read(place, stamps)
    for part in ("inputs", "targets"):
        if part not in arrays:
            raise DataError(f"{place}: has no array {part}; found {', '.join(sorted(arrays)) or 'nothing'}")
    inputs, targets = arrays["inputs"], arrays["targets"]
    for name, array in arrays.items():
        if name != "names" and (not array.ndim or len(array) != len(inputs)):
            count = len(array) if array.ndim else "a single number"
            raise DataError(f"{place}: {name}: expected {len(inputs)} examples as in inputs, found {count}")
    if not len(inputs):
        raise DataError(f"{place}: inputs: has no examples")
    inputs, found = _inputs(place, inputs, kind)
    targets, classes, suggestion = _targets(place, targets, arrays.get("names"), task)
    parts = {"inputs": inputs, "targets": targets}
    if "weights" in arrays:
        parts["weights"] = np.asarray(arrays["weights"], np.float32)
    rows = make_rows(parts, kind=found, classes=classes, fingerprint=content)
    return replace(rows, suggestion=suggestion)


def _stamps(place: Path) -> tuple[tuple[Path, int, int], ...]:
    """Return the files with their sizes and times: when one changes, it is read again."""
    files = sorted(place.glob("*.npy")) if place.is_dir() else [place]
    for file in files:
        check_file(file, most=LARGEST)
    return tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files)


@lru_cache(maxsize=1)  # a source is built twice: to find its task, and to train
def _read(place: Path, stamps: tuple[tuple[Path, int, int], ...]) -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays and their fingerprint."""
    if place.is_dir():
        arrays = {file.stem: _mapped(file) for file, *_ in stamps}
    else:
        try:
            with place.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except UNREADABLE as error:
            raise DataError(f"{place}: is not a readable .npz file ({_said(error)})") from error
    if unknown := sorted(set(arrays) - set(NAMES)):
        raise DataError(f"{place}: unknown array {unknown[0]}; expected {', '.join(NAMES)}")
    return arrays, fingerprint(arrays)


def _mapped(file: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    except UNREADABLE as error:
        raise DataError(f"{file}: is not a readable .npy file ({_said(error)})") from error


def _check_size(file: Path, memory_left: int) -> None:
    """Read the headers of an `.npz` file alone, so that a bomb is refused before it is unpacked."""
    try:
        with zipfile.ZipFile(file) as archive:
            needed = sum(size_of(archive, entry)[0] for entry in archive.infolist())
    except UNREADABLE as error:
        raise DataError(f"{file}: is not a readable .npz file ({_said(error)})") from error
    if needed > memory_left:
        raise MemoryExhausted(
            f"{file}: its arrays take {needed / 2**20:,.0f} MiB, and {memory_left / 2**20:,.0f} MiB of memory are "
            "free; save them as inputs.npy and targets.npy in a folder, which need not fit"
        )


def _inputs(place: Path, inputs: np.ndarray, kind: Kind | None) -> tuple[np.ndarray, Kind]:
    """Return the inputs with the axis of the channels, and what they are."""
    shape, letters = list(inputs.shape), inputs.dtype.kind
    if letters not in "biuf":
        raise DataError(f"{place}: inputs: expected numbers, found {inputs.dtype}")
    three = Kind.IMAGE if inputs.dtype == np.uint8 else Kind.SEQUENCE
    found = kind or {2: Kind.NUMBERS, 3: three, 4: Kind.IMAGE}.get(inputs.ndim)
    if inputs.ndim == 3 and found is Kind.IMAGE:
        inputs = inputs[..., None]
    fits = {Kind.NUMBERS: 2, Kind.SEQUENCE: 3, Kind.IMAGE: 4}
    if found is None or inputs.ndim != fits[found]:
        raise DataError(
            f"{place}: inputs: found shape {shape}, expected [N, F] numbers, [N, H, W] or [N, H, W, C] images, or "
            f"[N, L, F] sequences{f' (data.kind={kind})' if kind else ''}"
        )
    if found is Kind.IMAGE and inputs.shape[3] not in COLOURS:
        hint = "; move the channels to the end" if inputs.shape[1] in COLOURS else ""
        count = f"{inputs.shape[3]} channels, expected 1, 3 or 4"
        raise DataError(f"{place}: inputs: images of shape {shape[1:]} have {count}{hint}")
    if found is not Kind.IMAGE and letters != "f":
        inputs = inputs.astype(np.float32)
    elif inputs.dtype == np.float16 or letters == "b" or (letters in "iu" and inputs.dtype != np.uint8):
        inputs = inputs.astype(np.float32)
    return inputs, found


def _targets(
    place: Path, targets: np.ndarray, names: np.ndarray | None, task: Any
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, str]]:
    """Return the targets, the names of the classes, and the task that suits them with the reason."""
    whole = targets.dtype.kind in "biu"
    wants_numbers = task is not None and task.target_kind is Kind.NUMBERS
    if targets.ndim > 1 and whole and targets.ndim == 2 and np.isin(targets, (0, 1)).all() and names is None:
        why = f"targets are {targets.shape[1]} columns of 0 and 1"
        if not wants_numbers:
            labels = tuple(str(i) for i in range(targets.shape[1]))
            return targets.astype(np.int32), labels, ("multilabel", why)
    if targets.dtype.kind == "f" or (whole and wants_numbers):
        if targets.ndim > 2:
            raise DataError(f"{place}: targets: found shape {list(targets.shape)}, expected [N] or [N, T] numbers")
        why = "targets are floats; whole numbers would be classes"
        return targets.astype(np.float32).reshape(len(targets), -1), (), ("regression", why)
    if targets.ndim != 1:
        found = f"{targets.dtype} {list(targets.shape)}"
        raise DataError(f"{place}: targets: found {found}, expected one class per example")
    if targets.dtype.kind in "US":
        levels, numbers = np.unique(targets.astype(str), return_inverse=True)
        classes, numbers = tuple(levels.tolist()), numbers.astype(np.int32)
    elif whole:
        classes, numbers = _numbered(place, targets, names)
    else:
        raise DataError(f"{place}: targets: expected numbers or texts, found {targets.dtype}")
    if len(classes) < 2:
        raise DataError(f"{place}: targets: has a single class, {classes[0]}: there is nothing to learn")
    return numbers, classes, ("classification", f"targets are {len(classes)} classes")


def _numbered(place: Path, targets: np.ndarray, names: np.ndarray | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of classes that are numbered from 0, and their numbers."""
    if names is not None:
        if names.ndim != 1 or names.dtype.kind != "U":
            raise DataError(f"{place}: names: expected texts [K], found {names.dtype} {list(names.shape)}")
        classes = tuple(names.tolist())
    else:
        classes = tuple(str(number) for number in range(int(targets.max()) + 1))
    bad = np.flatnonzero((targets < 0) | (targets >= len(classes)))
    if len(bad):
        raise DataError(
            f"{place}: targets: that of example {bad[0]} is {targets[bad[0]]}, expected 0..{len(classes) - 1}"
        )
    return classes, targets.astype(np.int32)


def _said(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
