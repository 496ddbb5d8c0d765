"""The errors shown to users, each with the exit code of the process.

Messages say what is wrong, where (config key, file, row), and what to do; `cli` prints them to stderr without a
traceback, which is written to `train.log`.
"""

import os
import re
from collections.abc import Iterable

BACKGROUND = "dltrain.background"  # the logger for errors in threads of other libraries
UNREAD = "dltrain.unread"  # the logger for output that nobody can read any more
THIRD_PARTY = (BACKGROUND, UNREAD, "asyncio")  # asyncio: secondary errors of Orbax tasks; all go to train.log only
LIBRARIES = ("py.warnings", "matplotlib", "orbax", "jax")  # their warnings go to train.log, unless hydra.verbose


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


class WorkerError(DltrainError):
    """A thread that reads or converts data died or hangs."""

    code = 9


class Interrupted(DltrainError):
    """Ctrl-C: the run is saved and can be resumed."""

    code = 130


class Terminated(DltrainError):
    """SIGTERM, or SIGHUP from a terminal that closes: the run is saved and can be resumed."""

    code = 143


def hide(message: str, texts: Iterable[str]) -> str:
    """Replace values of environment variables that `texts` refer to in a message by `${oc.env:NAME}`."""
    for name in sorted({name for text in texts for name in re.findall(r"oc\.env\s*:\s*(\w+)", text)}):
        value = os.environ.get(name, "")
        for shown in (value, value[:57]) if len(value) > 3 else ():  # 57: long values are truncated in messages
            message = message.replace(shown, f"${{oc.env:{name}}}")
    return message
