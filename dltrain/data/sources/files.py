"""Check a file before a source reads it: it must be a regular file, and fit into memory."""

import stat
from pathlib import Path

from dltrain.errors import DataError

LARGEST = 1 << 30  # bytes of a text file, which is held in memory
KINDS = {
    stat.S_IFIFO: "a FIFO, which may never return anything",
    stat.S_IFCHR: "a device, which may never end",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def read_file(path: Path) -> bytes:
    """Read a file that `data.path` names, or raise DataError if it is not a file or has more than LARGEST bytes."""
    check_file(path, most=LARGEST)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} (data.path): cannot be read ({error.strerror})") from error


def check_file(path: Path, *, most: int) -> None:
    """Raise DataError unless `path` is a regular file of at most `most` bytes; opening another kind may block."""
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path} (data.path): cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(found.st_mode):
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "not a file")
        raise DataError(f"{path} (data.path): is {kind}; expected a regular file: copy its content into one")
    if found.st_size > most:
        raise DataError(f"{path} (data.path): {found.st_size} bytes, expected at most {most}")
