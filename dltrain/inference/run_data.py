"""Rereading of a run's training data, for uses that need its examples."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from dltrain.build.model import make_task
from dltrain.build.other_data import assemble_other, open_other
from dltrain.build.parts import Parts, assemble
from dltrain.build.saved import read_saved
from dltrain.config.call import Composed
from dltrain.errors import CheckpointError, DataError
from dltrain.runs.checkpoint import Checkpoint
from dltrain.runs.folder import RunFolder
from dltrain.runs.sealed import read_sealed

CLOSE = 1e-4  # relative; a sum of many values rounds differently on another machine
Warn = Callable[[str], None]


def read_run_data(
    folder: RunFolder, composed: Composed, found: Checkpoint, *, reason: str, instead: str, warn: Warn
) -> Parts:
    """Read and check the data of a run.

    Args:
        folder: the run folder.
        composed: its checked, saved config.
        found: the checkpoint that is used.
        reason: the use that needs the data, for the message.
        instead: the alternative without it, for the message.
        warn: is told what could not be checked.

    Raises:
        DataError: it cannot be read, or is not what the run was trained on.
    """
    try:
        parts = assemble(composed.config, composed.trust)
    except DataError as error:
        raise DataError(
            f"{reason} needs the data of {folder.path}, which cannot be read: {error}; {instead}"
        ) from error
    check_data(folder, parts, found, warn=warn)
    return parts


def read_other_data(folder: RunFolder, composed: Composed, *, warn: Warn) -> Parts | None:
    """Read other data than that of a run, to evaluate its model; None if it is the run's own, at another place.

    All its examples are in each split, as the saved preprocessing encodes them.

    Raises:
        DataError: it cannot be read, or is not in the form of the training data.
    """
    config, trust = composed.config, composed.trust
    saved = read_saved(folder.model, trust, task=make_task(config, trust))
    other = open_other(config, trust, saved)
    if other.source.fingerprint == read_sealed(folder.data).get("fingerprint"):
        return None
    if other.description is not None:
        for note in other.description.notes:
            warn(note)
    return assemble_other(other, config, trust, saved)


def check_data(folder: RunFolder, parts: Parts, found: Checkpoint, *, warn: Warn) -> None:
    """Check that data and fitted preprocessing are those that a checkpoint was trained with.

    Raises:
        CheckpointError: data.json cannot be read.
        DataError: something differs.
    """
    described = parts.described()
    folder.check_data(described)
    if found.about.get("data", described["fingerprint"]) != described["fingerprint"]:
        raise DataError(
            f"the data is that of {folder.data}, but not the data that the checkpoint of step {found.step} was "
            "trained on; restore both, or start a new run"
        )
    try:
        saved = read_sealed(folder.model).get("preprocess")
    except CheckpointError as error:
        warn(f"{error}; whether the preprocessing is that of the run is not known")
        return
    if saved is not None and not _is_close(saved, parts.preprocess.to_json()):
        raise DataError(
            f"the preprocessing (data.scale, data.preprocess) comes out differently than when {folder.path} was "
            f"trained: {folder.model} has other fitted values; restore the code of its steps, or start a new run"
        )


def _is_close(one: Any, other: Any) -> bool:
    """Compare two JSON values; numbers may differ by rounding."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_close(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_is_close, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=CLOSE, abs_tol=1e-30) or (one != one and other != other)
    return one == other
