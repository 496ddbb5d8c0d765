"""Turns exceptions into messages on stderr and exit codes, and handles Ctrl-C, also inside libraries."""

import contextlib
import errno
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from dltrain.errors import (
    BACKGROUND,
    ConfigError,
    DiskError,
    DltrainError,
    Interrupted,
    MemoryExhausted,
    Terminated,
    hide,
)
from dltrain.places import raised_in
from dltrain.startup import INTERRUPTED

DISK = frozenset({
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ELOOP,
    errno.EMFILE,
    errno.ENFILE,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENXIO,
})  # fmt: skip
"""Errors of a disk or of its permissions, never of a program."""

NO_MEMORY = (  # as jax says it, which is not imported, Python, and the loader of shared libraries
    "RESOURCE_EXHAUSTED",
    "can't start new thread",
    "failed to map segment from shared object",
    "cannot allocate memory",
    "Cannot allocate memory",
)


def catch_signals() -> None:
    """Handle Ctrl-C and exceptions in threads, for a process that runs only this command."""
    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = _raised_elsewhere


def was_interrupted(error: BaseException) -> bool:
    """Tell whether Ctrl-C ended this before a run could save itself, even if a library raised its own error."""
    saved = isinstance(error, (Interrupted, Terminated))
    return isinstance(error, KeyboardInterrupt) or (INTERRUPTED.is_set() and not saved)


def left_others() -> bool:
    """Tell whether this process failed among others, for which jax would wait before it ends."""
    hosts = sys.modules.get("dltrain.devices.hosts")  # not imported: most commands do without jax
    return bool(hosts and hosts.ended_badly())


def exit_process(code: int) -> NoReturn:
    """Exit without the interpreter's shutdown, in which an interrupted C++ library may crash or hang."""
    logging.shutdown()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


def interrupt(number: int, frame: Any) -> None:
    """Raise KeyboardInterrupt, delayed where it would be lost or crash the process.

    jax runs Python in the garbage collector, which swallows it; a C++ library may crash while it is imported.
    """
    while frame is not None:
        if frame.f_code.co_name == "_xla_gc_callback" or frame.f_code.co_filename.startswith("<frozen importlib"):
            threading.Timer(0.02, os.kill, (os.getpid(), number)).start()
            return
        frame = frame.f_back
    INTERRUPTED.set()
    raise KeyboardInterrupt


def as_error(error: BaseException, packages: Collection[str] = ()) -> DltrainError:
    """Return an error with a message for the user; anything unexpected becomes an internal error.

    What code of the user's own raises, in one of `packages`, is said with its file and line.
    """
    place = raised_in(error, packages) if packages else ""
    if isinstance(error, DltrainError):
        if place and place not in str(error):
            error.args = (f"{error} ({place})",)
        return error
    first = (str(error).splitlines() or [""])[0]
    if isinstance(error, MemoryError) or any(sign in first for sign in NO_MEMORY):
        found: DltrainError = MemoryExhausted(
            f"out of memory: {first or 'an allocation failed'}; earlier checkpoints are complete. "
            "Try a smaller batch_size, optim.accumulate=4, data.feed=streamed, or on a GPU model.remat=true"
        )
    elif isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # of what was typed, to read or to write
        found = ConfigError(f"{str(error.filename)[:60]}...: is too long for the name of a file")
    elif isinstance(error, OSError) and error.errno in DISK:
        found = DiskError(f"{error.filename or 'input or output'}: {error.strerror}")
    elif isinstance(error, RuntimeError) and "home directory" in first:  # of Path.expanduser
        found = ConfigError(
            "a path that begins with ~ cannot be expanded: the user is unknown, or HOME is not set; type "
            "the full path"
        )
    elif place:
        found = ConfigError(
            f"{place}: {type(error).__name__}: {first} (DLTRAIN_TRACEBACK=1 shows the whole traceback)"
        )
    elif isinstance(error, ImportError):
        found = ConfigError(
            f"a library cannot be imported: {first}; dltrain doctor, or a new installation, may help"
        )
    else:
        found = DltrainError(
            f"internal error: {type(error).__name__}: {first} "
            "(please report it; the traceback is in the train.log of the run, or shown with DLTRAIN_TRACEBACK=1)"
        )
    found.__cause__ = error
    return found


def report(error: DltrainError, prefix: str = "", texts: Sequence[str] = ()) -> int:
    """Print an error, with values of environment variables that `texts` name hidden; return the exit code."""
    if os.environ.get("DLTRAIN_TRACEBACK") == "1":
        print(hide("".join(traceback.format_exception(error)), texts), end="", file=sys.stderr)
    for line in hide(str(error), texts).splitlines() or [type(error).__name__]:
        print(f"dltrain: {prefix}{line}", file=sys.stderr)
    return error.code


def _raised_elsewhere(raised: Any) -> None:
    """Write exceptions of C++ threads to train.log only: the code that waits for the thread reports the failure."""
    if threading.current_thread() is threading.main_thread():
        sys.__unraisablehook__(raised)
    else:
        about = (raised.exc_type, raised.exc_value, raised.exc_traceback)
        logging.getLogger(BACKGROUND).error("raised in another thread", exc_info=about)
