"""From an exception to a message on stderr and an exit code; Ctrl-C, and what libraries make of it."""

import contextlib
import errno
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from dltrain.errors import (
    BACKGROUND,
    DiskError,
    DltrainError,
    Interrupted,
    MemoryExhausted,
    Terminated,
)
from dltrain.runs.files import hide

DISK = frozenset({
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EMFILE,
    errno.ENFILE,
})  # fmt: skip
"""Faults of a disk or of its permissions, never of a program."""

NO_MEMORY = ("RESOURCE_EXHAUSTED", "can't start new thread")  # as jax says it, which is not imported, and Python
INTERRUPTED = threading.Event()  # Ctrl-C came; a library may swallow the exception and fail later with its own


def catch_signals() -> None:
    """Handle Ctrl-C, and what threads raise, for a process that ends with this command line."""
    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = _raised_elsewhere


def was_interrupted(error: BaseException) -> bool:
    """Say whether Ctrl-C ended this before a run could save itself, even if a library raised its own error."""
    saved = isinstance(error, (Interrupted, Terminated))
    return isinstance(error, KeyboardInterrupt) or (INTERRUPTED.is_set() and not saved)


def leave(code: int) -> NoReturn:
    """End the process without the interpreter's end: a C++ library interrupted halfway may crash or hang in it."""
    logging.shutdown()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


def interrupt(number: int, frame: Any) -> None:
    """Raise KeyboardInterrupt, a moment later where it would be lost or kill the process.

    jax runs Python in the garbage collector, which swallows it; a C++ library that is being imported may crash.
    """
    while frame is not None:
        if frame.f_code.co_name == "_xla_gc_callback" or frame.f_code.co_filename.startswith("<frozen importlib"):
            threading.Timer(0.02, os.kill, (os.getpid(), number)).start()
            return
        frame = frame.f_back
    INTERRUPTED.set()
    raise KeyboardInterrupt


def as_error(error: BaseException) -> DltrainError:
    """Return an error with a message for the user; anything unexpected becomes an internal error."""
    if isinstance(error, DltrainError):
        return error
    first = (str(error).splitlines() or [""])[0]
    if isinstance(error, MemoryError) or any(sign in first for sign in NO_MEMORY):
        found: DltrainError = MemoryExhausted(
            f"out of memory: {first or 'the system gave none'}; checkpoints written before are complete. "
            "Try a smaller batch_size, optim.accumulate=4, data.feed=streamed, or on a GPU model.remat=true"
        )
    elif isinstance(error, OSError) and error.errno in DISK:
        found = DiskError(f"{error.filename or 'input or output'}: {error.strerror}")
    else:
        found = DltrainError(
            f"internal error: {type(error).__name__}: {first} "
            "(please report it; the traceback is in the train.log of the run, or shown with DLTRAIN_TRACEBACK=1)"
        )
    found.__cause__ = error
    return found


def report(error: DltrainError, prefix: str = "", texts: Sequence[str] = ()) -> int:
    """Print what went wrong, without values of environment variables that `texts` name; return the exit code."""
    if os.environ.get("DLTRAIN_TRACEBACK") == "1":
        print(hide("".join(traceback.format_exception(error)), texts), end="", file=sys.stderr)
    for line in hide(str(error), texts).splitlines() or [type(error).__name__]:
        print(f"dltrain: {prefix}{line}", file=sys.stderr)
    return error.code


def _raised_elsewhere(raised: Any) -> None:
    """Leave what a C++ thread raises to train.log: whoever waits for its work reports the failure."""
    if threading.current_thread() is threading.main_thread():
        sys.__unraisablehook__(raised)
    else:
        about = (raised.exc_type, raised.exc_value, raised.exc_traceback)
        logging.getLogger(BACKGROUND).error("raised in another thread", exc_info=about)
