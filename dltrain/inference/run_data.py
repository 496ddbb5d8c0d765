"""Rereading of a run's training data, for uses that need its examples."""

from dltrain.build.parts import Parts, assemble
from dltrain.config.call import Composed
from dltrain.errors import DataError
from dltrain.runs.folder import RunFolder


def read_run_data(folder: RunFolder, composed: Composed, *, reason: str, instead: str) -> Parts:
    """Read and check the data of a run.

    Args:
        folder: the run folder.
        composed: its checked, saved config.
        reason: the use that needs the data, for the message.
        instead: the alternative without it, for the message.

    Raises:
        DataError: it cannot be read, or is not what the run was trained on.
    """
    try:
        parts = assemble(composed.config, composed.trust)
    except DataError as error:
        raise DataError(
            f"{reason} needs the data of {folder.path}, which cannot be read: {error}; {instead}"
        ) from error
    folder.check_data(parts.described())
    return parts
