"""The run that a command is called with: its folder, its config with the typed changes, and the runtime started."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dltrain.config.call import Call, Composed
from dltrain.devices import runtime
from dltrain.errors import ConfigError
from dltrain.inference.run import Run, amend_saved
from dltrain.runs.folder import RunFolder, existing
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
