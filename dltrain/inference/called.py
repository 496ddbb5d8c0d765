"""The run that a command is called with: its folder, its config with the typed changes, and the runtime started."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dltrain.config.call import Call, Composed
from dltrain.devices import runtime
from dltrain.errors import ConfigError
from dltrain.inference.ensemble.ensemble import Ensemble, open_saved
from dltrain.inference.ensemble.saved import read_ensemble
from dltrain.inference.run import Run, amend_saved
from dltrain.runs.folder import ENSEMBLE, RunFolder, existing
from dltrain.runs.restore import Warn


def called_folder(
    call: Call, command: str, *, what: str = "run folder", check: Callable[[Path], Any] | None = None
) -> tuple[RunFolder, Composed]:
    """Return the one folder that is named, and its saved config with the overrides; jax is ready then.

    Args:
        call: the call.
        command: its name, for messages.
        what: the folders that it takes, for messages.
        check: is given the path before the config is read, to refuse a folder that is damaged.

    Raises:
        ConfigError: not one folder is named, or its config cannot be used.
    """
    if len(call.words) != 1:
        raise ConfigError(f"{command}: name one {what}: dltrain {command} outputs/DATE/TIME-NAME")
    if is_ensemble(call.words[0]):
        raise ConfigError(_instead(call, command))
    folder = existing(call.words[0])
    if check is not None:
        check(folder.path)
    composed = amend_saved(folder, call.amend, call.overrides)
    runtime.start(**composed.config["runtime"])
    return folder, composed


def called_run(call: Call, command: str, *, warn: Warn) -> Run:
    """Open the run that is named, at the checkpoint of the command's options.

    Raises:
        ConfigError: not one folder is named, or its config cannot be used.
    """
    folder, composed = called_folder(call, command)
    return Run(folder, composed, checkpoint=call.options["checkpoint"], warn=warn)


def called_model(call: Call, command: str, *, warn: Warn) -> Run | Ensemble:
    """Open the run or the ensemble that is named.

    Raises:
        ConfigError: not one folder is named, its config cannot be used, or a checkpoint of an ensemble is chosen.
    """
    if len(call.words) != 1 or not is_ensemble(call.words[0]):
        return called_run(call, command, warn=warn)
    if chosen := next((word for word in call.overrides if word.startswith("checkpoint=")), None):
        raise ConfigError(
            f"{chosen}: {call.words[0]} is an ensemble, whose runs have their checkpoints; leave it out"
        )
    return open_saved(call.words[0], lambda folder: amend_saved(folder, call.amend, call.overrides), warn=warn)


def is_ensemble(path: str) -> bool:
    """Tell whether a path is the folder of an ensemble, and not that of a run."""
    folder = RunFolder(Path(path).expanduser())
    return (folder.path / ENSEMBLE).is_file() and not folder.config.is_file()


def _instead(call: Call, command: str) -> str:
    """Say that a command takes no ensemble, and what does."""
    path = call.words[0]
    best = read_ensemble(Path(path).expanduser()).members[0].path
    return (
        f"{command}: {path} is an ensemble, and {command} takes a single run; use its first one: dltrain {command} "
        f"{shlex.quote(best)}. Predictions of the whole ensemble: dltrain predict {shlex.quote(path)} input=FILE"
    )
