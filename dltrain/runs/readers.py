"""Locks between those who read a checkpoint and the run that deletes it."""

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def kept(manifest: Path, *, alone: bool = False) -> Generator[bool]:
    """Keep a checkpoint from being deleted while it is read, or, `alone`, from being read while it is renamed.

    The lock is on its manifest, which needs no permission to write. Gives False if the other is going on, or if the
    checkpoint is gone. Where the file system has no locks, and where the manifest is missing, nothing is locked.
    """
    with contextlib.ExitStack() as stack:
        try:
            handle = os.open(manifest, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            is_there = manifest.parent.is_dir()
        else:
            stack.callback(os.close, handle)
            is_there = _lock(handle, alone=alone) and _is_at(manifest, handle)
        yield is_there


def _lock(handle: int, *, alone: bool) -> bool:
    try:
        fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


def _is_at(path: Path, handle: int) -> bool:
    """Tell whether an open file still has this path."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except OSError:
        return False
