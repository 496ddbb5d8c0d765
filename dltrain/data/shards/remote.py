"""Files of object stores and other file systems, through `fsspec`: listed, and copied to this machine.

A file system that does not answer hangs a thread, not the run: every call has a time limit.
"""

import datetime
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dltrain.data.progress import progress
from dltrain.data.shards.names import MAGIC, Shard
from dltrain.errors import ConfigError, DataError, WorkerError

STAMPS = ("ETag", "etag", "md5Hash", "crc32c", "mtime", "LastModified", "last_modified", "updated", "created")
"""What file systems call that which changes with the content of a file; the first that there is."""

CHUNK = 1 << 22  # bytes
THREADS = 8  # copies at a time; they wait for the network, not for a core
ATTEMPTS = 3
MIB = 1 << 20
LOST = (FileNotFoundError, PermissionError, IsADirectoryError)  # a further attempt does not help


def open_filesystem(url: str, key: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it.

    Raises:
        ConfigError: the package for it is missing, or the protocol is unknown.
    """
    try:
        import fsspec
    except ImportError:
        raise ConfigError(f"{key}={url}: needs the package fsspec; pip install 'dltrain[remote]'") from None
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
        name = package.get(url.partition("://")[0], "")
        hint = f"pip install {name}" if name else str(error)
        raise ConfigError(f"{key}={url}: the package for this kind of address is missing; {hint}") from error
    except Exception as error:  # of many kinds: an unknown protocol, no credentials
        raise ConfigError(f"{key}={url}: cannot be opened ({_said(error)})") from error


def remote_shards(urls: Sequence[str], *, endings: Sequence[str], key: str, timeout: float) -> list[Shard]:
    """Return the files of addresses with size and stamp: of folders, patterns with `*`, or single files.

    A folder is listed once, so that a thousand shards are not a thousand questions.

    Raises:
        DataError: a file does not exist, or the file system refuses.
        WorkerError: it does not answer within `timeout` seconds.
    """
    listed: dict[str, Mapping[str, Any]] = {}
    found: list[Shard] = []
    for url in urls:
        system, path = open_filesystem(url, key)

        def look(system: Any = system, path: str = path) -> list[Mapping[str, Any]]:
            return _look(system, path, listed, endings)

        infos = within(timeout, look, f"{url} ({key})")
        if not infos:
            what = " or ".join(f"*{ending}" for ending in endings)
            raise DataError(f"{url} ({key}): no file fits this pattern, or the folder has no files {what}")
        for info in infos:
            if info.get("size") is None:
                raise DataError(f"{url} ({key}): the server does not say how long the file is")
            found.append(Shard(system.unstrip_protocol(info["name"]), int(info["size"]), stamp_of(info)))
    return found


def _look(system: Any, path: str, listed: dict[str, Mapping[str, Any]], endings: Sequence[str]) -> list[Any]:
    """Return what the file system says about the files that one path stands for."""
    if MAGIC.search(path):
        return [info for _, info in sorted(system.glob(path, detail=True).items()) if info["type"] == "file"]
    parent = path.rpartition("/")[0]
    if parent not in listed:
        listed[parent] = {}
        try:
            listed[parent] = {str(info["name"]).strip("/"): info for info in system.ls(parent, detail=True)}
        except (OSError, NotImplementedError):  # one that cannot list, such as some web servers
            pass
    info = listed[parent].get(path.strip("/"))
    if info is None or (info["type"] == "file" and info.get("size") is None):
        info = system.info(path)
    if info["type"] != "directory":
        return [info]
    inside = sorted(system.ls(path, detail=True), key=lambda info: str(info["name"]))
    return [one for one in inside if one["type"] == "file" and str(one["name"]).endswith(tuple(endings))]


def stamp_of(info: Mapping[str, Any]) -> str:
    """Return what changes with the content of a file, "" if the file system does not say it."""
    value = next((info[name] for name in STAMPS if info.get(name) not in (None, "")), "")
    return repr(value.timestamp()) if isinstance(value, datetime.datetime) else str(value)


def within(timeout: float, call: Callable[[], Any], what: str) -> Any:
    """Return what `call` returns, or raise an error that names `what`."""
    ended: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            ended.put((call(), None))
        except BaseException as error:  # raised below
            ended.put((None, error))

    threading.Thread(target=work, daemon=True, name="file system").start()
    try:
        found, error = ended.get(timeout=timeout)
    except queue.Empty:
        raise WorkerError(f"{what}: no answer within {timeout:g} s (data.timeout)") from None
    if error is not None:
        raise as_data_error(what, error) from error
    return found


def as_data_error(what: str, error: BaseException) -> DataError:
    """Return the error that names a file that cannot be read."""
    if isinstance(error, DataError):
        return error
    if isinstance(error, FileNotFoundError):
        return DataError(f"{what}: does not exist; a shard is lost, or the path is wrong")
    return DataError(f"{what}: cannot be read ({_said(error)})")


class Copies:
    """Threads that copy files here. They are daemons: one that hangs does not keep the process from ending."""

    def __init__(self, shards: Sequence[tuple[Shard, Path]], *, key: str, timeout: float) -> None:
        """Start the threads.

        Args:
            shards: each with the file to write; its beginning is written to a file `.part` next to it.
            key: of the config, for messages.
            timeout: seconds without a byte after which a file counts as lost.
        """
        self._key, self._timeout, self._count = key, timeout, len(shards)
        self._size = sum(shard.size for shard, _ in shards)
        self._wanted: queue.SimpleQueue[tuple[Shard, Path]] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[int | BaseException | None] = queue.SimpleQueue()
        self._beats: dict[str, float] = {}
        self._stopped = threading.Event()
        for one in shards:
            self._wanted.put(one)
        count = min(THREADS, len(shards))
        self._threads = [threading.Thread(target=self._run, daemon=True, name=f"copy {i}") for i in range(count)]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Wait for all files.

        Raises:
            DataError: one cannot be read, or ends early; names it.
            WorkerError: of one no byte came for too long; names it.
        """
        what, rest, left = f"copying {self._count} shards", 0, self._count
        try:
            with progress(what, -(-self._size // MIB), unit="MiB") as advance:
                while left:
                    found = self._next()
                    if found is None:
                        left -= 1
                    else:
                        rest += found
                        advance(rest // MIB)
                        rest %= MIB
        finally:
            self._stopped.set()
            end = time.monotonic() + 1.0  # those that hang are left
            for thread in self._threads:
                thread.join(timeout=max(0.0, end - time.monotonic()))

    def _next(self) -> int | None:
        """Return the bytes that came, or None where a file is complete."""
        while True:
            try:
                found = self._events.get(timeout=min(1.0, self._timeout / 4))
            except queue.Empty:
                self._check_slow()
                continue
            if isinstance(found, BaseException):
                raise found
            return found

    def _check_slow(self) -> None:
        now = time.monotonic()
        for name, beat in list(self._beats.items()):
            if now - beat > self._timeout:
                raise WorkerError(
                    f"{name} ({self._key}): no byte of this shard came for {self._timeout:g} s (data.timeout): the "
                    "file system is stalled or too slow"
                )

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                shard, target = self._wanted.get_nowait()
            except queue.Empty:
                return
            try:
                self._beats[shard.name] = time.monotonic()
                self._copy(shard, target)
                self._events.put(None)
            except BaseException as error:  # raised by `wait`
                disk = isinstance(error, OSError) and error.filename == str(_part_of(target))
                self._events.put(error if disk else as_data_error(f"{shard.name} ({self._key})", error))
                self._stopped.set()
            finally:
                self._beats.pop(shard.name, None)

    def _copy(self, shard: Shard, target: Path) -> None:
        """Copy one file; a connection that breaks is tried again from the start."""
        for attempt in range(ATTEMPTS):
            try:
                return self._copy_once(shard, target)
            except LOST:
                raise
            except (OSError, _CutShort):
                if attempt == ATTEMPTS - 1 or self._stopped.is_set():
                    raise
        return None

    def _copy_once(self, shard: Shard, target: Path) -> None:
        part, size = _part_of(target), 0
        system, path = open_filesystem(shard.name, self._key)
        try:
            with system.open(path, "rb") as stream, part.open("wb") as file:
                while data := stream.read(CHUNK):
                    if self._stopped.is_set():
                        return
                    file.write(data)
                    size += len(data)
                    self._beats[shard.name] = time.monotonic()
                    self._events.put(len(data))
                file.flush()
                os.fsync(file.fileno())
            if size != shard.size:
                raise _CutShort(
                    f"{shard.name} ({self._key}): is cut short, or was changed: {size:,} bytes came, expected "
                    f"{shard.size:,}"
                )
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def _part_of(target: Path) -> Path:
    """Return the file that this thread writes until the copy is complete."""
    return target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.part")


class _CutShort(DataError):
    """Other bytes came than the file system promised."""


def _said(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__
