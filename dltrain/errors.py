"""The errors shown to users, each with the exit code of the process.

Messages say what is wrong, where (config key, file, row), and what to do; `cli` prints them to stderr without a
traceback, which is written to `train.log`.
"""

import traceback
from collections.abc import Collection, Iterator

BACKGROUND = "dltrain.background"  # the logger for errors in threads of other libraries
UNREAD = "dltrain.unread"  # the logger for output that nobody can read any more
THIRD_PARTY = (BACKGROUND, UNREAD, "asyncio")  # asyncio: secondary errors of Orbax tasks; all go to train.log only
LIBRARIES = ("py.warnings", "matplotlib", "orbax", "jax")
"""Loggers whose warnings go to train.log; `hydra.verbose` may show them in the terminal, too."""


class DltrainError(Exception):
    """A failure with a message for the user; raised directly only for a bug in dltrain."""

    code = 1


class ConfigError(DltrainError):
    """A mistake in the command line or in a YAML file."""

    code = 2


class DataError(DltrainError):
    """The data is missing, damaged, or does not match the config."""

    code = 3


class CheckpointError(DltrainError):
    """No checkpoint can be read, or it does not match the model."""

    code = 4


class NonFiniteError(DltrainError):
    """A loss or gradient became NaN or infinite at a step (counted from 1)."""

    code = 5

    def __init__(self, step: int, message: str) -> None:
        """Store the step, which identifies the batch."""
        super().__init__(message)
        self.step = step


class DiskError(DltrainError):
    """A file or folder cannot be written."""

    code = 6


class LockedError(DltrainError):
    """Another process is using the run folder."""

    code = 7


class MemoryExhausted(DltrainError):
    """The run does not fit into the memory of the host or the device."""

    code = 8


class Interrupted(DltrainError):
    """Ctrl-C: the run is saved and can be resumed."""

    code = 130


class Terminated(DltrainError):
    """SIGTERM: the run is saved and can be resumed."""

    code = 143


def raised_in(error: BaseException, packages: Collection[str]) -> str:
    """Return `FILE, line N` of the innermost line in one of these packages that led to an error, or ""."""
    found = ""
    for one in _chain(error):
        if isinstance(one, SyntaxError) and one.filename and not one.filename.startswith("<"):
            return f"{one.filename}, line {one.lineno}"
        for frame, line in traceback.walk_tb(one.__traceback__):
            module = frame.f_globals.get("__name__", "")
            if any(module == package or module.startswith(f"{package}.") for package in packages):
                found = f"{frame.f_code.co_filename}, line {line}"
    return found


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Go through an error and those that caused it."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        following = following.__cause__ or following.__context__
