"""The command line after --, which launchers start in several processes: checked before anything is started."""

from collections.abc import Mapping, Sequence
from typing import Any

from dltrain.cli.argv import parse_argv
from dltrain.composition.compose import make_call, make_request
from dltrain.composition.settings import wants_sweep
from dltrain.config.call import Composed
from dltrain.config.changes import allowed_changes, read_saved
from dltrain.config.folders import read_tree, roots
from dltrain.errors import ConfigError
from dltrain.runs.folder import existing

ONE_EACH = "the jobs of a sweep train in one process each; launch a single training"
OF_LAUNCH = {
    "runtime.hosts=": "runtime.hosts: is set by the launcher; leave it out",
    "hydra.run.dir=": "hydra.run.dir: name the folder of a launched run with output_dir=FOLDER",
}
"""Keys that a launcher sets, and what to say about them."""


def compose_passed(words: Sequence[str], known: Mapping[str, Any], asking: list[str]) -> Composed:
    """Compose and check the config of a training, or of the run that `resume RUN` continues.

    Args:
        words: the command line.
        known: the commands.
        asking: gets texts that may refer to the environment.

    Raises:
        ConfigError: the words are wrong, or do not train one model.
    """
    line = parse_argv([*words], known)
    if flag := next((name for name in ("--multirun", "--resume") if name in line.flags), None):
        raise ConfigError(f"{flag}: {ONE_EACH}")
    if flag := next((name for name in line.flags if name != "--config-dir"), None):
        raise ConfigError(f"launch -- {flag}: only --config-dir can be used here")
    if line.command not in ("train", "resume"):
        raise ConfigError(f"launch -- {line.command}: only train and resume run in several processes")
    typed = [word.lstrip("+") for word in line.overrides]
    if key := next((key for key in OF_LAUNCH if any(word.startswith(key) for word in typed)), None):
        raise ConfigError(OF_LAUNCH[key])
    folders = roots(line.flags.get("--config-dir"))
    tree = read_tree(folders)
    request = make_request(line.command, line.overrides, folders, tree)
    call = make_call(request, line.words, asking)
    if line.command == "train":
        if line.words:
            raise ConfigError(f"launch -- {line.words[0]}: only train and resume run in several processes")
        if wants_sweep(line.overrides, tree):
            raise ConfigError(f"hydra.mode=MULTIRUN: {ONE_EACH}")
        return call.compose()
    if len(line.words) != 1:
        raise ConfigError("launch -- resume: name one run folder: -- resume outputs/DATE/TIME-NAME")
    saved = read_saved(existing(line.words[0]).config)
    composed = call.amend(saved)
    allowed_changes(saved, composed.text, line.overrides)
    return composed
