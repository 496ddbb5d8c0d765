"""A folder that is kept open, so that it is found again if it is renamed."""

import errno
import fcntl
import os
from pathlib import Path

from dltrain.errors import DiskError

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class HeldFolder:
    """The folder that a user named: links that lead to it are followed, and while it is held, it is found again."""

    def __init__(self, path: Path) -> None:
        """Set the path; nothing is opened."""
        self._path = path
        self._handle: int | None = None
        self._inside: dict[str, int] = {}  # handles of the folders that were opened inside it

    @property
    def path(self) -> Path:
        """Where the folder is now.

        Raises:
            DiskError: it is held, and was deleted or moved to another file system.
        """
        if self._handle is not None and not _is_at(self._path, self._handle):
            self._path = _find(self._path, self._handle)
        return self._path

    @property
    def held(self) -> bool:
        """Whether the folder is kept open."""
        return self._handle is not None

    def hold(self) -> None:
        """Keep the folder open."""
        if self._handle is None:
            self._handle = os.open(self._path, FOLDER)

    def let_go(self) -> None:
        """Close it."""
        if self._handle is not None:
            for handle in (self._handle, *self._inside.values()):
                os.close(handle)
            self._handle, self._inside = None, {}

    def open(self) -> int:
        """Return a handle of the folder, for the caller to close."""
        return os.open(self._path, FOLDER) if self._handle is None else os.dup(self._handle)

    def check_inside(self, name: str, parent: int) -> None:
        """Raise DiskError if a folder inside was renamed since it was opened; a deleted one may be made again."""
        if (before := self._inside.get(name)) is None:
            return
        try:
            same = os.path.samestat(os.stat(name, dir_fd=parent, follow_symlinks=False), os.fstat(before))
        except FileNotFoundError:
            same = False
        if not same and os.fstat(before).st_nlink:
            raise DiskError(f"{self.path / name} was renamed or moved while it was in use; put it back, and resume")
        if not same:
            os.close(self._inside.pop(name))

    def remember(self, name: str, handle: int) -> None:
        """Keep a handle of a folder inside, if this one is held."""
        if self.held and name not in self._inside:
            self._inside[name] = os.dup(handle)


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except OSError:
        return False


def _find(path: Path, handle: int) -> Path:
    """Return where an open folder is, whose old path is `path`."""
    found = _path_of(handle)
    if found is None or not _is_at(found, handle):
        raise DiskError(f"{path} was deleted, or moved to another disk, while it was in use")
    if not path.is_absolute() and found.is_relative_to(Path.cwd()):
        return found.relative_to(Path.cwd())
    return found


def _path_of(handle: int) -> Path | None:
    """Ask the system for the path of an open folder."""
    try:
        if hasattr(fcntl, "F_GETPATH"):  # macOS
            return Path(os.fsdecode(fcntl.fcntl(handle, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")))
        return Path(os.readlink(f"/proc/self/fd/{handle}"))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL):
            return None
        raise
