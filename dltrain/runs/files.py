"""Writing files: atomic, synced, and never through a link inside the folder that is written to.

A run folder may come from somebody else, with links in it that lead to files of its user. So everything that is
written into one goes through `Files`: each folder below the top one is opened without following a link, a new file
is created exclusively, and a file that is opened to be changed must have a single name. The folder stays open while
a process holds it, and is found again if it is renamed.

The file is a little long because `Files` is the only place where a run folder is written to.
"""

import contextlib
import copy
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO, Any

from dltrain.errors import DiskError
from dltrain.runs.held import FOLDER, HeldFolder

_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # not blocking: to open a FIFO would wait for ever


class Files:
    """A folder in which to write; `files / "report"` is a folder inside it.

    Names are those of entries of the folder. Every method raises DiskError, which names the path, if the system
    refuses, or if a link is in the way.
    """

    def __init__(self, path: Path, *, note: Callable[[str], None] = lambda name: None) -> None:
        """Set the path; nothing is created or read. `note` gets the name of each file before it is written."""
        self._top = HeldFolder(path)
        self._note_name = note
        self._parts: tuple[str, ...] = ()

    def __truediv__(self, name: str) -> "Files":
        """Return a folder inside this one; its name may have several parts."""
        inside = copy.copy(self)
        inside._parts = (*self._parts, *map(_plain, name.split("/")))
        return inside

    def __fspath__(self) -> str:
        """Return the path, for functions that read."""
        return str(self.path)

    @property
    def path(self) -> Path:
        """Where the folder is now.

        Raises:
            DiskError: it is held, and was deleted or moved to another file system.
        """
        return self._top.path.joinpath(*self._parts)

    @property
    def held(self) -> bool:
        """Whether `hold` keeps the top folder open."""
        return self._top.held

    def hold(self) -> None:
        """Keep the top folder open, so that it is found if it is renamed."""
        with writing(self._top.path):
            self._top.hold()

    def let_go(self) -> None:
        """Close the top folder."""
        self._top.let_go()

    def make(self) -> None:
        """Create the folder, unless it is there."""
        with writing(self.path), self._opened(make=True):
            pass

    def make_new(self, name: str) -> Path:
        """Create an empty folder, for a library that writes by path, and return its path."""
        self.remove_tree(name)
        with writing(self.path / name), self._opened(make=True) as folder:
            os.mkdir(_plain(name), dir_fd=folder)
        return self.path / name

    def replace(self, name: str, data: bytes, *, synced: bool = True) -> None:
        """Replace a file atomically: a reader, also after a crash, sees the old content or the new.

        Unless `synced`, the latter does not hold if the machine itself crashes: for what can be made again.
        """
        with writing(self.path / name), self._opened(make=True) as folder:
            self.note(name)
            draft = f".{_plain(name)}.{secrets.token_hex(4)}.new"
            try:
                with os.fdopen(_create(draft, folder), "wb") as file:
                    file.write(data)
                    file.flush()
                    if synced:
                        sync(file.fileno())
                os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft, dir_fd=folder)
                raise
            if synced:
                sync(folder)

    def replace_text(self, name: str, text: str, *, synced: bool = True) -> None:
        """Replace a text file, like `replace`."""
        self.replace(name, text.encode("utf-8"), synced=synced)

    def replace_json(self, name: str, value: Any) -> bytes:
        """Write a value as JSON, and return it; NaN and infinities, which JSON does not have, become null."""
        data = (json.dumps(_finite(value), indent=2, allow_nan=False) + "\n").encode()
        self.replace(name, data)
        return data

    def create(self, name: str) -> IO[bytes]:
        """Create a file that must not be there yet, and open it unbuffered."""
        with writing(self.path / name), self._opened(make=True) as folder:
            self.note(name)
            return os.fdopen(_create(_plain(name), folder), "wb", buffering=0)

    def copy_in(self, name: str, source: Path, *, linked: bool = False) -> None:
        """Make a new file with the content of a regular one; `linked`: by a hard link where the system makes one.

        A linked file has two names, so it must be one that is never changed in place.
        """
        with writing(self.path / name), self._opened(make=True) as folder:
            self.note(name)
            with os.fdopen(os.open(source, os.O_RDONLY | _FILE), "rb") as original:
                if not stat.S_ISREG(os.fstat(original.fileno()).st_mode):
                    raise OSError(errno.EINVAL, f"{source} is not a file")
                if linked:
                    with contextlib.suppress(OSError):  # another file system, or one without hard links
                        os.link(source, _plain(name), dst_dir_fd=folder, follow_symlinks=False)
                        return
                with os.fdopen(_create(_plain(name), folder), "wb") as copied:
                    shutil.copyfileobj(original, copied)
                    copied.flush()
                    sync(copied.fileno())

    def append(self, name: str) -> IO[str]:
        """Open a text file to append to it, and create it if it is not there."""
        with writing(self.path / name), self._opened(make=True) as folder:
            self.note(name)
            return os.fdopen(self._change(name, folder, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8")

    def change(self, name: str) -> IO[str]:
        """Open a text file to read and change it, and create it if it is not there."""
        with writing(self.path / name), self._opened(make=True) as folder:
            return os.fdopen(self._change(name, folder, os.O_RDWR), "r+", encoding="utf-8", errors="replace")

    def remove(self, name: str) -> None:
        """Delete a file, or a link itself, if it is there."""
        with writing(self.path / name), self._there() as folder, contextlib.suppress(FileNotFoundError):
            if folder is not None:
                os.unlink(_plain(name), dir_fd=folder)

    def remove_file(self, name: str) -> None:
        """Delete what `remove` can, and leave what it cannot."""
        with contextlib.suppress(DiskError):
            self.remove(name)

    def remove_tree(self, name: str) -> None:
        """Delete a folder with everything in it, or a file, if it is there; links are deleted, not followed."""
        with writing(self.path / name), self._there() as folder, contextlib.suppress(FileNotFoundError):
            if folder is not None and _is_folder(_plain(name), folder):
                shutil.rmtree(name, dir_fd=folder)
            elif folder is not None:
                os.unlink(name, dir_fd=folder)

    def remove_empty(self, name: str) -> bool:
        """Delete a folder if it is empty; tell whether it is gone."""
        with self._there() as folder:
            try:
                if folder is not None:
                    os.rmdir(_plain(name), dir_fd=folder)
            except FileNotFoundError:
                return True
            except OSError:
                return False
        return True

    def rename(self, old: str, new: str) -> None:
        """Rename an entry of the folder."""
        with writing(self.path / new), self._opened() as folder:
            os.rename(_plain(old), _plain(new), src_dir_fd=folder, dst_dir_fd=folder)

    def move(self, name: str, into: "Files") -> None:
        """Move an entry into another folder below the same top one."""
        with writing(into.path / name), self._opened() as here, into._opened(make=True) as there:
            os.rename(_plain(name), name, src_dir_fd=here, dst_dir_fd=there)

    def names(self) -> list[str]:
        """List the entries, sorted; [] if the folder is not there, or is a link."""
        try:
            with self._opened() as folder:
                return sorted(os.listdir(folder))
        except (OSError, DiskError):
            return []

    def check_open(self, name: str, file: IO[Any]) -> None:
        """Raise DiskError if an open file is not the one of this name any more."""
        with writing(self.path / name), self._there() as folder:
            try:
                there = os.stat(_plain(name), dir_fd=folder, follow_symlinks=False) if folder is not None else None
            except FileNotFoundError:
                there = None
            if there is None or not os.path.samestat(there, os.fstat(file.fileno())):
                raise DiskError(f"{self.path / name} was renamed, replaced or deleted while it was written")

    def sync(self) -> None:
        """Flush the entries to the disk."""
        with writing(self.path), self._opened() as folder:
            sync(folder)

    def note(self, name: str) -> None:
        """Tell the folder about a file that is written here."""
        self._note_name("/".join((*self._parts, name)))

    def _change(self, name: str, folder: int, flags: int) -> int:
        """Open a file in place: a regular one, with a single name."""
        try:
            file = os.open(_plain(name), flags | os.O_CREAT | _FILE, 0o666, dir_fd=folder)
        except OSError as error:
            raise self._refusal(name, folder, error) from None
        about = os.fstat(file)
        if stat.S_ISREG(about.st_mode) and about.st_nlink <= 1:
            return file
        os.close(file)
        if not stat.S_ISREG(about.st_mode):
            raise DiskError(f"{self.path / name}: is not a file; delete it")
        raise DiskError(link_refusal(self.path / name, "is a hard link"))

    @contextlib.contextmanager
    def _opened(self, *, make: bool = False) -> Generator[int]:
        """Open the folder, step by step from the top one, without following a link."""
        if make and not self.held and not self._top.path.exists():
            self._top.path.mkdir(parents=True, exist_ok=True)
        handle = self._top.open()
        try:
            for depth, part in enumerate(self._parts, 1):
                if depth == 1:
                    self._top.check_inside(part, handle)
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=handle)
                try:
                    inner = os.open(part, FOLDER | os.O_NOFOLLOW, dir_fd=handle)
                except OSError as error:
                    raise self._refusal(part, handle, error) from None
                os.close(handle)
                handle = inner
                if depth == 1:
                    self._top.remember(part, handle)
            yield handle
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _there(self) -> Generator[int | None]:
        """Open the folder, or give None if it does not exist."""
        with contextlib.ExitStack() as stack:
            try:
                folder = stack.enter_context(self._opened())
            except FileNotFoundError:
                folder = None
            yield folder

    def _refusal(self, name: str, folder: int, error: OSError) -> Exception:
        """Explain an error if a link is the cause of it."""
        try:
            is_link = stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        except OSError:
            return error
        if not is_link:
            return error
        inside = self._parts[: self._parts.index(name) + 1] if name in self._parts else (*self._parts, name)
        return DiskError(link_refusal(self._top.path.joinpath(*inside), "is a link"))


def link_refusal(path: Path, what: str) -> str:
    """Say that nothing is written through a link."""
    return (
        f"{path}: {what}, and dltrain writes through no link inside a run folder; delete it, or put a copy of what "
        "it leads to in its place"
    )


def files_at(place: Path | Files) -> Files:
    """Return a folder to write to; a path is trusted as it stands."""
    return place if isinstance(place, Files) else Files(place)


@contextlib.contextmanager
def writing(what: Path | Callable[[], Path]) -> Generator[None]:
    """Convert an OSError inside, also one wrapped by TensorStore, into a DiskError that names `what`.

    A function is called only for an error: what is written often need not ask each time where its folder is.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        code = re.search(r"\[(?:os_error_code='|OS error )(\d+)", str(error))  # in two versions of TensorStore
        if isinstance(error, ValueError) and not code:
            raise
        reason = os.strerror(int(code[1])) if code else getattr(error, "strerror", None)
        path = what() if callable(what) else what
        raise DiskError(f"cannot write {path}: {reason or error}; free some space or choose output_dir") from error


def replace_text(path: Path, text: str) -> None:
    """Replace a file atomically, like `Files.replace`; its folder is trusted."""
    Files(path.parent).replace_text(path.name, text)


def replace_bytes(path: Path, data: bytes) -> None:
    """Replace a binary file atomically, like `replace_text`."""
    Files(path.parent).replace(path.name, data)


def replace_json(path: Path, value: Any) -> None:
    """Write a value as JSON, like `Files.replace_json`."""
    Files(path.parent).replace_json(path.name, value)


def sync(place: Path | int) -> None:
    """Flush the content of a file, or the entries of a folder, to the disk; also of one that is open."""
    if isinstance(place, int):
        os.fsync(place)
        return
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _create(name: str, folder: int) -> int:
    """Create a file that must not be there, whatever kind of entry has its name."""
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o666, dir_fd=folder)


def _plain(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r}: is not the name of a file")
    return name


def _is_folder(name: str, folder: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
