"""Download published files to the cache folder: several mirrors, resumed transfers, SHA-256 checked before use.

The transfer is hand-written, since pooch restarts a broken one from zero, and unpacks a `.gz` that a server labels
as compressed; what else pooch does (a checksum, a move) takes two lines.
"""

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

import filelock
import requests
import urllib3
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from dltrain.cache import cache_folder
from dltrain.errors import ConfigError, DataError, DiskError

TIMEOUT = (10.0, 30.0)  # seconds to connect, seconds without a byte
ATTEMPTS = 5  # at one mirror, as long as each brings some bytes
CHUNK = 1 << 16
LOST = (requests.RequestException, urllib3.exceptions.HTTPError)


def fetch(name: str, files: Mapping[str, str], mirrors: Sequence[str]) -> Path:
    """Return the folder `<cache>/<name>` with all `files` in it, downloaded where they are missing or damaged.

    Several processes may call this at once: one downloads, the others wait for it.

    Args:
        name: of the data set, and of its folder.
        files: file name -> SHA-256 (hex).
        mirrors: addresses of folders that hold the files, tried in this order.

    Raises:
        DataError: no mirror has a file with the right checksum.
        DiskError: the cache folder cannot be written.
    """
    for part in (name, *files):
        if part in ("", ".", "..") or Path(part).name != part:
            raise ConfigError(f"{part!r}: the folder and files of a data set must be plain names, without a path")
    folder = cache_folder() / name
    if all(_is_good(folder / file, sha256) for file, sha256 in files.items()):
        return folder  # before the lock: the cache may be read-only
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            for file, sha256 in files.items():
                if not _is_good(folder / file, sha256):  # another process may have been quicker
                    if failures := _from_mirrors(folder / file, sha256, mirrors):
                        raise DataError(_download_error(name, file, files, folder, failures))
    except OSError as error:  # those of requests are OSErrors too, but `_from_mirrors` catches them
        raise DiskError(f"{folder}: cannot be written ({error.strerror}); set DLTRAIN_CACHE=FOLDER") from error
    return folder


def _from_mirrors(target: Path, sha256: str, mirrors: Sequence[str]) -> list[str]:
    """Download one file; return what went wrong at each mirror, [] on success."""
    part = target.with_name(f"{target.name}.part")
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{target.name}"
        for _ in range(ATTEMPTS):
            before = _size(part)
            try:
                _transfer(url, part)
            except LOST as error:
                failures.append(f"{url}: {_reason(error)}")
                if _size(part) > before:
                    continue  # some bytes came: resume from there
                break
            if _is_good(part, sha256):
                with part.open("rb") as stream:
                    os.fsync(stream.fileno())
                part.replace(target)
                return []
            failures.append(f"{url}: wrong SHA-256 (a file of {_size(part)} bytes, not the published one)")
            part.unlink()
            if not before:
                break  # otherwise the old beginning may be wrong: try again from zero
    return failures or ["data.mirrors is empty"]


def _transfer(url: str, part: Path) -> None:
    """Append the missing bytes to `part`, or overwrite it where the server sends the whole file."""
    start = _size(part)
    # identity: some servers would otherwise compress or unpack a .gz file, which changes its checksum
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if start and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is missing, or the part is not of this file: the checksum tells
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise requests.RequestException("sent another range of the file than the requested one")
        start = start if resumed else 0
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        with part.open("ab" if resumed else "wb") as stream, _progress(url, start, total) as advance:
            for data in response.raw.stream(CHUNK, decode_content=False):
                stream.write(data)
                advance(len(data))


@contextlib.contextmanager
def _progress(url: str, start: int, total: int | None) -> Generator[Callable[[int], None], None, None]:
    """Show a bar on a terminal; elsewhere print a line at the start and one every ten seconds."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(url.rpartition("/")[2], total=total, completed=start)
            yield lambda count: bar.advance(task, count)
        return
    done, shown = start, time.monotonic()
    size = f"{total / 1e6:.1f} MB" if total else "size unknown"
    _say(f"downloading {url} ({size}{f', resumed at {start / 1e6:.1f} MB' if start else ''})")

    def advance(count: int) -> None:
        nonlocal done, shown
        done += count
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            _say(f"  {done / 1e6:.1f} of {size}")

    yield advance


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[None, None, None]:
    """Hold the folder's lock; the system releases it when the process ends, however it ends."""
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        _say(f"waiting for another process that is downloading to {folder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _is_good(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == sha256.lower()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    """Name the failure in a few words; the text of the library may contain the password of a proxy."""
    match error:
        case requests.HTTPError(response=requests.Response() as response):
            return f"HTTP {response.status_code} {response.reason}"
        case requests.Timeout() | urllib3.exceptions.ReadTimeoutError():
            return f"no answer within {TIMEOUT[1]:.0f} s"
        case requests.exceptions.SSLError():
            return "the server's certificate was not accepted"
        case requests.exceptions.ProxyError():
            return "the proxy did not answer"
        case requests.ConnectionError():
            return "no connection"
        case requests.exceptions.InvalidSchema() | requests.exceptions.MissingSchema():
            return "not an http or https address"
        case urllib3.exceptions.HTTPError():
            return "the connection was cut"
        case _:
            return str(error) if type(error) is requests.RequestException else type(error).__name__


def _download_error(name: str, file: str, files: Mapping[str, str], folder: Path, failures: Sequence[str]) -> str:
    kept = _size(folder / f"{file}.part")
    lines = [f"{name}: {file} could not be downloaded:", *(f"  {line}" for line in dict.fromkeys(failures))]
    if (folder / file).exists():
        lines.append(f"The copy at {folder / file} is damaged.")
    if kept:
        lines.append(f"The first {kept} bytes are kept in {folder}; the next start resumes from there.")
    lines.append(
        f"Without a network: put {', '.join(files)} into FOLDER/{name} and set DLTRAIN_DATA=FOLDER"
        f" (data sets in IDX format also accept data.root=FOLDER/{name})"
    )
    return "\n".join(lines)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
