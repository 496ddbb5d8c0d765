"""Arrays that are converted once and then memory-mapped: data that need not fit into memory.

A store is a folder in dltrain's cache with one `.npy` file for each array. It is written in blocks by several
threads; an interrupted conversion continues where it stopped. A store that is open holds a shared lock, so that
no other process removes it; the system releases the lock when the process ends, however it ends.
"""

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.cache import cache_folder
from dltrain.data.progress import progress
from dltrain.data.store_lock import Lock
from dltrain.data.workers import Workers
from dltrain.errors import ConfigError, DiskError
from dltrain.machine import cores

FOLDER = "converted"  # below the cache folder
LIMIT = 64.0  # GiB that all stores together may take, unless $DLTRAIN_CACHE_GIB says otherwise
SAVED_EVERY = 5.0  # seconds of work that an interruption loses at most
DONE, PARTS = "store.json", "blocks.json"

Convert = Callable[[int, int], tuple[Mapping[str, np.ndarray], Any]]
"""(first, last + 1) -> the arrays of these examples by name, and a note as plain JSON; called by many threads."""


@dataclass(frozen=True)
class Column:
    """One array of a store: the shape and dtype of an example's part."""

    shape: tuple[int, ...]
    dtype: str

    def bytes(self, examples: int) -> int:
        """Return the size of the array."""
        return examples * int(np.prod(self.shape, dtype=int)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Store:
    """Converted arrays.

    Attributes:
        arrays: name -> read-only array [N, ...], whose pages are read from the disk when they are needed.
        notes: what `convert` of each block returned, in the order of the blocks.
        folder: where the files are.
        lock: the descriptor that keeps the files from being removed while this object exists.
    """

    arrays: Mapping[str, np.ndarray]
    notes: list[Any]
    folder: Path
    lock: Lock


def open_store(
    key: Mapping[str, Any],
    columns: Mapping[str, Column],
    examples: int,
    *,
    block: int,
    convert: Convert,
    what: str,
    unit: str = "examples",
    threads: int | None = None,
) -> Store:
    """Return the store of this key, converting what is missing.

    Args:
        key: everything that the content depends on, as plain JSON: fingerprints of files, and settings.
        columns: the arrays, by name.
        examples: number of examples.
        block: number of examples that are converted together.
        convert: see `Convert`.
        what: the work, for the progress bar.
        unit: name of the examples, in the plural.
        threads: number of threads; None: one for each core.

    Raises:
        DiskError: the cache cannot be written, or has too little room.
        WorkerError: a thread died, or hangs.
    """
    layout = {name: [list(column.shape), column.dtype] for name, column in columns.items()}
    folder = _folder_of([dict(key), layout, examples, block])
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        while True:
            if (found := _opened(folder, columns)) is not None:
                return found
            with Lock.exclusive(_lock_of(folder)):
                if not (folder / DONE).exists():  # another process may have been quicker
                    writing = _Writing(folder, columns, examples, block)
                    writing.run(convert, threads or cores(), what, unit)
    except OSError as error:
        raise DiskError(f"{folder}: cannot be written ({error.strerror}); set DLTRAIN_CACHE=FOLDER") from error


def open_folder(key: Mapping[str, Any], write: Callable[[Path], None], *, needed: int) -> Store:
    """Return a folder of the cache that `write` fills, if that is not done yet.

    Args:
        key: everything that the content depends on, as plain JSON.
        write: writes files into the folder that it is given, which has those of an interrupted call.
        needed: about the number of bytes that it writes.

    Raises:
        DiskError: the cache cannot be written, or has too little room.
    """
    folder = _folder_of([dict(key)])
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        while (found := _opened(folder, {})) is None:
            with Lock.exclusive(_lock_of(folder)):
                if not (folder / DONE).exists():
                    _make_room(needed, keep=folder)
                    folder.mkdir(exist_ok=True)
                    write(folder)
                    _write_json(folder / DONE, [])
        return found
    except OSError as error:
        raise DiskError(f"{folder}: cannot be written ({error.strerror}); set DLTRAIN_CACHE=FOLDER") from error


def _folder_of(key: Any) -> Path:
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return cache_folder() / FOLDER / name


def _opened(folder: Path, columns: Mapping[str, Column]) -> Store | None:
    """Open a store that is complete; None if it is not."""
    if not (folder / DONE).exists():
        return None
    lock = Lock.shared(_lock_of(folder))
    try:
        notes = json.loads((folder / DONE).read_text(encoding="utf-8"))
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in columns}
    except (OSError, ValueError):  # removed in between, or damaged
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        return None
    with contextlib.suppress(OSError):  # of a cache that may only be read
        os.utime(folder)  # the time of the last use decides what is removed first
    return Store({name: np.asarray(array) for name, array in arrays.items()}, notes, folder, lock)


class _Writing:
    """A conversion that is under way."""

    def __init__(self, folder: Path, columns: Mapping[str, Column], examples: int, block: int) -> None:
        """Create the files, or find those of an interrupted conversion."""
        self._folder, self._columns, self._examples, self._block = folder, columns, examples, block
        self._notes: dict[int, Any] = {}
        self._lock, self._saved, self._closed = threading.Lock(), time.monotonic(), False
        if (folder / PARTS).exists():
            saved = json.loads((folder / PARTS).read_text(encoding="utf-8"))
            self._notes = {int(number): note for number, note in saved.items()}
        else:
            shutil.rmtree(folder, ignore_errors=True)
            _make_room(sum(column.bytes(examples) for column in columns.values()), keep=folder)
            folder.mkdir()
        self._starts, self._files = {}, {}
        for name, column in columns.items():
            self._files[name] = os.open(folder / f"{name}.npy", os.O_RDWR | os.O_CREAT, 0o644)
            self._starts[name] = _write_header(self._files[name], (examples, *column.shape), column.dtype)

    def run(self, convert: Convert, threads: int, what: str, unit: str) -> None:
        """Convert the blocks that are missing, and declare the store complete."""
        count = -(-self._examples // self._block)
        missing = [number for number in range(count) if number not in self._notes]
        before = self._examples - sum(len(range(*self._range(number))) for number in missing)
        workers = Workers(lambda number: self._one(convert, number), missing, threads)
        try:
            with progress(what, self._examples, done=before, unit=unit) as advance:
                for _ in missing:
                    advance(len(range(*self._range(workers.wait(what)))))
        finally:
            workers.stop()
            with self._lock:
                self._save()
                self._closed = True
                for file in self._files.values():
                    os.close(file)
        _write_json(self._folder / DONE, [self._notes[number] for number in range(count)])
        (self._folder / PARTS).unlink()

    def _range(self, number: int) -> tuple[int, int]:
        first = number * self._block
        return first, min(first + self._block, self._examples)

    def _one(self, convert: Convert, number: int) -> None:
        first, end = self._range(number)
        arrays, note = convert(first, end)
        with self._lock:
            if self._closed:  # it ended late, after another block had failed
                return
            for name, column in self._columns.items():
                array = np.ascontiguousarray(arrays[name], column.dtype)
                if array.shape != (end - first, *column.shape):
                    raise ValueError(f"{name}: expected {(end - first, *column.shape)}, found {array.shape}")
                _write(
                    self._files[name], array.view(np.uint8).reshape(-1), self._starts[name] + column.bytes(first)
                )
            self._notes[number] = note
            if time.monotonic() - self._saved > SAVED_EVERY:
                self._save()

    def _save(self) -> None:
        """Record the blocks that are on the disk, in this order: a power failure may lose work, never mix it up."""
        for file in self._files.values():
            os.fsync(file)
        _write_json(self._folder / PARTS, self._notes)
        self._saved = time.monotonic()


def _write(file: int, data: np.ndarray, offset: int) -> None:
    """Write all bytes; unlike a write to a memory map, a full disk is an error and not a signal."""
    view = data.data
    while view:
        done = os.pwrite(file, view, offset)
        view, offset = view[done:], offset + done


def _write_header(file: int, shape: tuple[int, ...], dtype: str) -> int:
    """Write the header of an `.npy` file, and return where the data begins, a multiple of 64."""
    with os.fdopen(os.dup(file), "r+b") as stream:
        stream.seek(0)
        form = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, form)
        stream.flush()
        start = stream.tell()
        stream.truncate(start + int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize)
    return start


def _write_json(path: Path, value: Any) -> None:
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as stream:
        json.dump(value, stream)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def _make_room(needed: int, *, keep: Path) -> None:
    """Remove stores until `needed` bytes fit the limit and the disk: the longest unused first, none in use."""
    limit = cache_limit()
    others = sorted((path for path in keep.parent.iterdir() if path.is_dir() and path != keep), key=_used)
    taken = {path: sum(file.stat().st_size for file in path.iterdir()) for path in others}
    for path in others:
        if sum(taken.values()) + needed <= limit and needed < shutil.disk_usage(keep.parent).free:
            return
        with Lock.attempt(_lock_of(path)) as free:
            if free:
                shutil.rmtree(path, ignore_errors=True)
                taken.pop(path)
    free_bytes = shutil.disk_usage(keep.parent).free
    if needed >= free_bytes:
        raise DiskError(
            f"{keep.parent}: the converted data takes {needed / 2**30:.1f} GiB, but {free_bytes / 2**30:.1f} GiB "
            "are free; set DLTRAIN_CACHE=FOLDER, on a larger disk"
        )
    if sum(taken.values()) + needed > limit:
        raise DiskError(
            f"{keep.parent}: the converted data needs {needed / 2**30:.1f} GiB; with data in use, this is more "
            f"than the limit of {limit / 2**30:.1f} GiB; raise DLTRAIN_CACHE_GIB, or end other runs"
        )


def cache_limit() -> float:
    """Return the bytes that all stores together may take, and all copies of remote shards as many."""
    text = os.environ.get("DLTRAIN_CACHE_GIB")
    try:
        value = LIMIT if not text else float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise ConfigError(f"DLTRAIN_CACHE_GIB={text}: expected the GiB that converted data may take, such as 64")
    return value * 2**30


def _used(folder: Path) -> float:
    return folder.stat().st_mtime


def _lock_of(folder: Path) -> Path:
    return folder.with_suffix(".lock")
