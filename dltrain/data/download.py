"""Download published files to a cache folder: several mirrors, resumed part-files, SHA-256 before anything is used.

pooch gives the sums; its own downloader starts every file anew, so the transfer is ours.
"""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

import pooch
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

    Safe to be called by several processes at once: one downloads, the others wait for it.

    Args:
        name: of the data set, and of its folder.
        files: file name -> SHA-256 (hex).
        mirrors: addresses of folders that hold the files, tried in turn.

    Raises:
        DataError: no mirror gave a file with the right sum.
        DiskError: the cache folder cannot be written.
    """
    for part in (name, *files):
        if part in ("", ".", "..") or Path(part).name != part:
            raise ConfigError(f"{part!r}: a data set's folder and files must be plain names, without a path")
    folder = cache_folder() / name
    if all(_is_good(folder / file, sha256) for file, sha256 in files.items()):
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            for file, sha256 in files.items():
                if not _is_good(folder / file, sha256):  # another process may have been quicker
                    tried = _from_mirrors(folder / file, sha256, mirrors)
                    if tried:
                        raise DataError(_sorry(name, file, files, folder, tried))
    except OSError as error:  # requests' errors never come here, although they are OSErrors too
        raise DiskError(f"{folder}: cannot be written ({error.strerror}); set DLTRAIN_CACHE=FOLDER") from error
    return folder


def _from_mirrors(target: Path, sha256: str, mirrors: Sequence[str]) -> list[str]:
    """Download one file; return what went wrong at each mirror, nothing if the file is there."""
    part = target.with_name(f"{target.name}.part")
    tried = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{target.name}"
        for _ in range(ATTEMPTS):
            before = _size(part)
            try:
                _transfer(url, part)
            except LOST as error:
                tried.append(f"{url}: {_reason(error)}")
                if _size(part) > before:
                    continue  # it brought something: go on from there
                break
            if _is_good(part, sha256):
                with part.open("rb") as stream:
                    os.fsync(stream.fileno())
                part.replace(target)
                return []
            tried.append(f"{url}: wrong SHA-256 (a file of {_size(part)} bytes, not the published one)")
            part.unlink()
            if not before:
                break  # else the old beginning may have been at fault: once more from zero
    return tried or ["no mirrors are named (data.mirrors)"]


def _transfer(url: str, part: Path) -> None:
    """Append to `part` what it lacks, or write it anew where the server sends the whole file."""
    start = _size(part)
    # identity: some servers would else pack or unpack a .gz file on the way, and the sum would not fit
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if start and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is lacking, or the part is no part of this file: the sum will tell
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise requests.RequestException("sent another part of the file than asked for")
        start = start if resumed else 0
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        with part.open("ab" if resumed else "wb") as stream, _progress(url, start, total) as advance:
            for data in response.raw.stream(CHUNK, decode_content=False):
                stream.write(data)
                advance(len(data))


@contextlib.contextmanager
def _progress(url: str, start: int, total: int | None) -> Generator[Callable[[int], None], None, None]:
    """Show a bar on a terminal; elsewhere a line at the start and a sign of life every ten seconds."""
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
    """Hold the folder's lock; the system lets go of it when the process ends, however it ends."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"waiting for another process that is downloading to {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_good(path: Path, sha256: str) -> bool:
    return path.is_file() and pooch.file_hash(str(path), alg="sha256") == sha256.lower()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    """Say in a few words what went wrong; the library's own text may hold a proxy's password."""
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
            return "is no http or https address"
        case urllib3.exceptions.HTTPError():
            return "the connection was cut"
        case _:
            return str(error) if type(error) is requests.RequestException else type(error).__name__


def _sorry(name: str, file: str, files: Mapping[str, str], folder: Path, tried: Sequence[str]) -> str:
    kept = _size(folder / f"{file}.part")
    lines = [f"{name}: {file} could not be downloaded:", *(f"  {line}" for line in dict.fromkeys(tried))]
    if (folder / file).exists():
        lines.append(f"The copy at {folder / file} is damaged.")
    if kept:
        lines.append(f"The first {kept} bytes are kept in {folder}; starting again goes on from there.")
    lines.append(f"Without a network: put {', '.join(files)} into a folder and name it with data.root=FOLDER")
    return "\n".join(lines)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
