"""Copies of remote shards in dltrain's cache: one for each host, whatever the number of its processes.

The shards of one remote folder are in one folder here, which is locked while a process uses it, and which is
removed as a whole when others need the room: the longest unused first. The system releases the locks when the
process ends, however it ends.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dltrain.cache import cache_folder
from dltrain.data.shards.names import Shard
from dltrain.data.shards.remote import Copies
from dltrain.data.store import cache_limit
from dltrain.data.store_lock import Lock
from dltrain.errors import DiskError

FOLDER = "shards"  # below the cache folder
VERSION = 12  # letters


def copy_here(shards: Sequence[Shard], *, key: str, timeout: float) -> tuple[list[Shard], list[Lock]]:
    """Return the shards with their copies on this machine, and the locks that keep these.

    Args:
        shards: remote ones, and others, which stay where they are.
        key: of the config, for messages.
        timeout: seconds without a byte after which a file counts as lost.

    Raises:
        DataError: one cannot be read.
        DiskError: the cache cannot be written, or has too little room.
        WorkerError: a file system does not answer.
    """
    folders: dict[str, list[Shard]] = {}
    for shard in shards:
        if shard.path is None:
            folders.setdefault(shard.folder, []).append(shard)
    root, places, locks = cache_folder() / FOLDER, {}, []
    try:
        for name, inside in folders.items():
            folder = root / hashlib.sha256(name.encode()).hexdigest()[:32]
            folder.parent.mkdir(parents=True, exist_ok=True)
            _remove_old(folder, inside)
            locks.append(Lock.shared(_lock_of(folder)))  # from here on nobody removes it
            folder.mkdir(exist_ok=True)
            targets = {shard: folder / _file_of(shard) for shard in inside}
            _fill(targets, folder, key=key, timeout=timeout)
            places |= targets
    except OSError as error:
        raise DiskError(f"{root}: cannot be written ({error.strerror}); set DLTRAIN_CACHE=FOLDER") from error
    return [replace(shard, path=places.get(shard, shard.path)) for shard in shards], locks


def _fill(targets: Mapping[Shard, Path], folder: Path, *, key: str, timeout: float) -> None:
    """Copy what is missing; another process that wants the same waits, and finds it."""
    with contextlib.suppress(OSError):  # of a cache that may only be read
        os.utime(folder)  # the time of the last use decides what is removed first
    if not _missing(targets):
        return
    with Lock.exclusive(folder.with_suffix(".copying")):
        if missing := _missing(targets):
            with Lock.exclusive(folder.parent / "room.lock"):
                make_room(sum(shard.size for shard in missing), keep=folder)
            Copies([(shard, targets[shard]) for shard in missing], key=key, timeout=timeout).wait()


def _remove_old(folder: Path, shards: Sequence[Shard]) -> None:
    """Remove other versions of these shards, and what an interrupted copy left, if nobody uses the folder."""
    if not folder.is_dir():
        return
    names = {_file_of(shard) for shard in shards}
    stems = {Path(name).stem[:-VERSION] for name in names}
    with Lock.attempt(_lock_of(folder)) as free:
        for path in folder.iterdir() if free else ():
            if path.suffix == ".part" or (path.name not in names and path.stem[:-VERSION] in stems):
                path.unlink(missing_ok=True)


def _missing(targets: Mapping[Shard, Path]) -> list[Shard]:
    return [shard for shard, path in targets.items() if not path.exists() or path.stat().st_size != shard.size]


def _file_of(shard: Shard) -> str:
    """Return a name that another content of the same shard does not have."""
    stem, dot, ending = shard.file.rpartition(".")
    version = hashlib.sha256(f"{shard.size} {shard.stamp}".encode()).hexdigest()[:VERSION]
    return f"{stem or ending}-{version}{dot}{ending}"


def make_room(needed: int, *, keep: Path) -> None:
    """Remove folders until `needed` bytes fit the limit and the disk: the longest unused first, none in use.

    Raises:
        DiskError: what is in use leaves too little room.
    """
    root, limit = keep.parent, cache_limit()
    others = sorted((path for path in root.iterdir() if path.is_dir() and path != keep), key=_used)
    own, taken = _size(keep), {path: _size(path) for path in others}
    for path in others:
        if own + sum(taken.values()) + needed <= limit and needed < shutil.disk_usage(root).free:
            return
        with Lock.attempt(_lock_of(path)) as free:
            if free:
                shutil.rmtree(path, ignore_errors=True)
                taken.pop(path)
    if needed >= (free_bytes := shutil.disk_usage(root).free):
        raise DiskError(
            f"{root}: the shards take {needed / 2**30:.1f} GiB, but {free_bytes / 2**30:.1f} GiB are free; set "
            "DLTRAIN_CACHE=FOLDER, on a larger disk"
        )
    if (whole := own + sum(taken.values()) + needed) > limit:
        raise DiskError(
            f"{root}: the shards need {needed / 2**30:.3g} GiB; with those in use, {whole / 2**30:.3g} GiB, this "
            f"is more than the limit of {limit / 2**30:.3g} GiB; raise DLTRAIN_CACHE_GIB, or take fewer shards"
        )


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir()) if folder.is_dir() else 0


def _used(folder: Path) -> float:
    return folder.stat().st_mtime


def _lock_of(folder: Path) -> Path:
    return folder.with_suffix(".lock")
