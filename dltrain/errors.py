"""The errors a user may meet, each with the exit code it ends the process with.

Messages say what is wrong, where (config key, file, row), and what would be right; `cli` prints them on
stderr without a traceback, which goes to `train.log`.
"""

BACKGROUND = "dltrain.background"  # the logger of what threads of other libraries raise
THIRD_PARTY = (
    BACKGROUND,
    "asyncio",
)  # and what Orbax's tasks raise when another has failed already: for train.log only


class DltrainError(Exception):
    """A failure that is worded for the user. Raised as itself only for a fault of dltrain."""

    code = 1


class ConfigError(DltrainError):
    """A mistake in the command line or in a YAML file."""

    code = 2


class DataError(DltrainError):
    """The data is missing, damaged, or does not fit what was asked of it."""

    code = 3


class CheckpointError(DltrainError):
    """No checkpoint can be read, or it belongs to something else."""

    code = 4


class NonFiniteError(DltrainError):
    """A loss or gradient became NaN or infinite at a step (counted from 1)."""

    code = 5

    def __init__(self, step: int, message: str) -> None:
        """Keep the step, so that the batch can be named."""
        super().__init__(message)
        self.step = step


class DiskError(DltrainError):
    """A file or folder could not be written."""

    code = 6


class LockedError(DltrainError):
    """Another process is using the run folder."""

    code = 7


class MemoryExhausted(DltrainError):
    """The run does not fit into the memory of host or device."""

    code = 8


class Interrupted(DltrainError):
    """Ctrl-C: the run was saved and can be resumed."""

    code = 130


class Terminated(DltrainError):
    """SIGTERM: the run was saved and can be resumed."""

    code = 143
