"""Where the members of tar shards are: found in one pass over each, and kept in dltrain's cache.

A shard is in the WebDataset layout: the members of an example have a name in common up to the first dot of the
last part of their path, its key (`000001.jpg`, `000001.cls`). The order of members does not matter.
"""

import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.cache import cache_folder
from dltrain.data.progress import progress
from dltrain.data.shards.names import Shard
from dltrain.data.sources.npz import DAMAGED
from dltrain.errors import DataError, DiskError
from dltrain.machine import cores

FOLDER, VERSION = "indexes", 1  # below the cache folder; of the form of an index
BLOCK = tarfile.BLOCKSIZE
LABELS = ("cls", "txt", "json")
"""Endings of members that hold a label; their content is in the index."""
MOST_LABEL = 1 << 20  # bytes
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}


@dataclass(frozen=True)
class Index:
    """The examples of one shard.

    Attributes:
        shard: the file.
        modified: the time of its last change, in ns.
        digest: SHA-256 of its content, hex.
        keys: of the examples, in the order of their first members.
        endings: of the members, in small letters.
        offsets: where the member of each ending begins, int64 [N, E]; -1 for none.
        sizes: of the members in bytes, int64 [N, E].
        labels: the texts of the members that hold labels, by ending; None for none.
    """

    shard: Shard
    modified: int
    digest: str
    keys: tuple[str, ...]
    endings: tuple[str, ...]
    offsets: np.ndarray
    sizes: np.ndarray
    labels: Mapping[str, Sequence[str | None]]

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.keys)


def open_indexes(shards: Sequence[Shard]) -> list[Index]:
    """Return the index of each shard, made where there is none of this file; several threads read.

    Args:
        shards: files of this machine.

    Raises:
        DataError: a shard is not a tar file, or is damaged; the message names shard and member.
        DiskError: the cache cannot be written.
    """
    found = {shard: _kept(shard) for shard in shards}
    missing = [shard for shard in found if found[shard] is None]
    if missing:
        with (
            ThreadPoolExecutor(min(cores(), len(missing))) as pool,
            progress("indexing shards", len(missing), unit="shards") as advance,
        ):
            running = {pool.submit(_make, shard): shard for shard in missing}
            try:
                for done in as_completed(running):
                    found[running[done]] = done.result()
                    advance(1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return [index for shard in shards if (index := found[shard]) is not None]


def _kept(shard: Shard) -> Index | None:
    """Return the index of the cache, if it is of this file as it is now."""
    try:
        content = io.BytesIO(_place(shard).read_bytes())
        with np.load(content, allow_pickle=False) as saved:
            about = json.loads(saved["about"].tobytes())
            keys = tuple(saved["keys"].tobytes().decode().split("\n")) if saved["keys"].size else ()
            found = {name: about[name] for name in ("modified", "digest", "labels")}
            return Index(
                shard,
                keys=keys,
                endings=tuple(about["endings"]),
                offsets=saved["offsets"],
                sizes=saved["sizes"],
                **found,
            )
    except (OSError, *DAMAGED):  # there is none, or it is damaged
        return None


def _place(shard: Shard) -> Path:
    state = os.stat(_path(shard))
    key = json.dumps([VERSION, str(shard.path), state.st_size, state.st_mtime_ns])
    return cache_folder() / FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"


def _path(shard: Shard) -> Path:
    if shard.path is None:
        raise ValueError(f"{shard.name}: has to be copied here first")
    return shard.path


def _make(shard: Shard) -> Index:
    """Read a shard once, and keep its index."""
    path = _path(shard)
    try:
        place = _place(shard)
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            members = dict(_members(file, shard.name, before.st_size))
            keys, endings, offsets, sizes = _grouped(members, shard.name)
            held = {ending: endings.index(ending) for ending in LABELS if ending in endings}
            labels = {
                ending: [
                    _text(file, shard.name, f"{key}.{ending}", offsets[i, e], sizes[i, e])
                    for i, key in enumerate(keys)
                ]
                for ending, e in held.items()
            }
            after = os.fstat(file.fileno())
    except OSError as error:
        raise DataError(f"{shard.name}: cannot be read ({error.strerror or error})") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DataError(f"{shard.name}: was changed while it was read; start again when it is complete")
    index = Index(shard, before.st_mtime_ns, digest, keys, endings, offsets, sizes, labels)
    _keep(index, place)
    return index


def _keep(index: Index, place: Path) -> None:
    about = {name: getattr(index, name) for name in ("modified", "digest", "endings", "labels")}
    texts = json.dumps(about), "\n".join(index.keys)
    told, keys = (np.frombuffer(text.encode(), np.uint8) for text in texts)
    part = place.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez(file, offsets=index.offsets, sizes=index.sizes, about=told, keys=keys)
        part.replace(place)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DiskError(f"{place}: cannot be written ({error.strerror}); set DLTRAIN_CACHE=FOLDER") from error


def _members(file: Any, name: str, size: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the name of each member with offset and size of its content.

    `tarfile` takes a damaged header for the end of the archive, so what follows the last member is checked here.
    """
    file.seek(0)
    start, seen = file.read(8), set()
    if packed := next((form for magic, form in PACKED.items() if start.startswith(magic)), None):
        raise DataError(
            f"{name}: is compressed ({packed}), so that it cannot be read at random; unpack it to a plain .tar"
        )
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise DataError(f"{name}: {member.name}: is a link or a device, expected a plain file")
                if member.name in seen:
                    raise DataError(
                        f"{name}: {member.name}: two members have this name; keys must be unique in a shard"
                    )
                seen.add(member.name)
                yield member.name, (member.offset_data, member.size)
            end = tar.offset
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DataError(
            f"{name}: is not a tar file, or is damaged or cut short ({error}); it has {size:,} bytes"
        ) from error
    file.seek(end)
    if len(last := file.read(BLOCK)) < BLOCK or any(last):
        what = (
            "the end of the archive is missing: it is cut short" if len(last) < BLOCK else "the header is damaged"
        )
        raise DataError(f"{name}: at byte {end:,} of {size:,}: {what}; {len(seen):,} members come before")


def _grouped(
    members: Mapping[str, tuple[int, int]], name: str
) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray, np.ndarray]:
    """Return keys, endings, offsets [N, E] and sizes [N, E], without hidden files and those that have no ending."""
    rows: dict[str, dict[str, tuple[int, int]]] = {}
    for path, place in members.items():
        folder, slash, last = path.rpartition("/")
        stem, dot, ending = last.partition(".")
        if not stem or not dot or "\n" in path:
            continue
        found = rows.setdefault(f"{folder}{slash}{stem}", {})
        if (ending := ending.lower()) in found:
            raise DataError(f"{name}: {path}: another member differs only in capital letters; keys must be unique")
        found[ending] = place
    endings = tuple(dict.fromkeys(ending for found in rows.values() for ending in found))
    none = (-1, 0)
    table = np.array([[found.get(e, none) for e in endings] for found in rows.values()], np.int64)
    table = table.reshape(len(rows), len(endings), 2)
    return tuple(rows), endings, np.ascontiguousarray(table[..., 0]), np.ascontiguousarray(table[..., 1])


def _text(file: Any, name: str, member: str, offset: int, size: int) -> str | None:
    if offset < 0:
        return None
    if size > MOST_LABEL:
        raise DataError(f"{name}: {member}: has {size:,} bytes; a label has at most {MOST_LABEL:,}")
    file.seek(int(offset))
    try:
        return file.read(int(size)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: {member}: is not UTF-8 text (byte {error.start})") from error
