"""Reads the data that a run was trained on again, for what needs its examples."""

from dltrain.build.parts import Parts, assemble
from dltrain.config.call import Composed
from dltrain.errors import DataError
from dltrain.runs.folder import RunFolder


def read_run_data(folder: RunFolder, composed: Composed, *, reason: str, instead: str) -> Parts:
    """Read and check the data of a run.

    Args:
        folder: of the run.
        composed: its saved config, checked.
        reason: what needs the data, for the message.
        instead: what is possible without it.

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
