"""The cache of compiled programs on disk: each entry is checked before its machine code is loaded.

jax's own cache stores entries as they are, so one that was damaged, exchanged for another or written halfway is
executed (some ended the process with SIGILL). Here an entry begins with the SHA-256 of its name and content, is
written under another name and then renamed, and is dropped and compiled again if it does not match.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from jax._src import compilation_cache
from jax._src.compilation_cache_interface import CacheInterface

MAGIC = b"dltrain-program\n"
SUFFIX = "-cache"
_DIGEST_BYTES = 32


class ProgramCache(CacheInterface):
    """Entries by key in one folder, the least recently used deleted first; several processes may share it.

    A folder that cannot be written costs time only, so it is reported once, on stderr.
    """

    def __init__(self, folder: Path, *, most: int) -> None:
        """Keep at most `most` bytes in `folder`, which is created with the first entry."""
        self._path = self.folder = folder
        self.most = most
        self._reported = False

    def get(self, key: str) -> bytes | None:
        """Return the entry of a key; None if there is none, or it is damaged and was dropped."""
        path = self._entry(key)
        try:
            if not path.is_file():
                return None
            content = path.read_bytes()
        except OSError as error:
            self._report(f"cannot be read: {error.strerror or error}")
            return None
        start = len(MAGIC) + _DIGEST_BYTES
        if content[:start] == MAGIC + _digest(key, content[start:]):
            with contextlib.suppress(OSError):
                os.utime(path)
            return content[start:]
        _say(f"{path.name} in {self.folder}, a compiled program, is damaged: it is dropped and compiled again")
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def put(self, key: str, value: bytes) -> None:
        """Store an entry, replacing one of the same key, and delete the oldest entries to make room."""
        if len(value) > self.most:
            return
        path = self._entry(key)
        draft = path.with_name(f".{secrets.token_hex(8)}.new")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            self._make_room(len(MAGIC) + _DIGEST_BYTES + len(value))
            with draft.open("xb") as file:
                file.write(MAGIC + _digest(key, value) + value)
            draft.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            self._report(f"cannot be written: {error.strerror or error}")

    def _make_room(self, needed: int) -> None:
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries) + needed
        for _, size, path in entries:
            if total <= self.most:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size

    def _entries(self) -> Iterator[tuple[int, int, Path]]:
        """Yield (time of the last use, size, path) of every entry, and of drafts of processes that died."""
        for path in self.folder.iterdir():
            if path.name.endswith((SUFFIX, ".new")):
                with contextlib.suppress(OSError):  # another process has deleted it
                    about = path.lstat()
                    yield about.st_mtime_ns, about.st_size, path

    def _entry(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _report(self, problem: str) -> None:
        if not self._reported:
            remedy = "set DLTRAIN_CACHE=FOLDER, or runtime.cache=false"
            _say(f"compiled programs are not kept: {self.folder} {problem}; {remedy}")
        self._reported = True


def use(cache: ProgramCache) -> None:
    """Let jax keep its compiled programs in `cache`, from the next compilation on.

    jax has no interface for this, only the module's variables: a test compiles with a damaged entry.
    """
    compilation_cache._cache = cache
    compilation_cache._cache_initialized = True


def _digest(key: str, value: bytes) -> bytes:
    return hashlib.sha256(key.encode("utf-8") + b"\n" + value).digest()


def _say(line: str) -> None:
    print(f"dltrain: {line}", file=sys.stderr, flush=True)
