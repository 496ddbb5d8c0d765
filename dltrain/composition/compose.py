"""From overrides to a checked config or a call of a command: for the command line and for Python."""

import functools
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dltrain.composition.loader import make_loader
from dltrain.composition.overrides import quote, read_single
from dltrain.composition.settings import read_hydra, trusted
from dltrain.config import compose as composing
from dltrain.config.call import Call, Composed
from dltrain.config.command_options import COMMANDS
from dltrain.config.folders import Tree, read_tree, read_yaml, roots
from dltrain.config.hydra_node import is_hydra
from dltrain.config.request import Request
from dltrain.config.schema import Key
from dltrain.errors import ConfigError


def compose_words(*words: str, config_dir: str | None = None) -> Composed:
    """Compose and check a training config from group=choice and key=value words, as the command line does."""
    folders = roots(config_dir)
    return make_call(make_request("train", words, folders, read_tree(folders))).compose()


def amend_words(saved: Mapping[str, Any], *words: str) -> Composed:
    """Apply overrides to the config of a run folder, as `dltrain evaluate RUN` does; missing keys are filled in."""
    folders = roots(None)
    return make_call(make_request("evaluate", words, folders, read_tree(folders))).amend(saved)


def make_request(
    command: str,
    words: Sequence[str],
    folders: tuple[Path, ...],
    tree: Tree,
    options: Mapping[str, Key] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Request:
    """Parse key=value words; if a key is set twice, the last value counts.

    Args:
        command: the name of the command.
        words: the overrides.
        folders: folders of YAML.
        tree: the choices in these folders.
        options: the command's own keys; None: those of a command of dltrain.
        defaults: of the options; None or empty: from configs/<command>.yaml.
    """
    own = [word for word in words if not is_hydra(word.lstrip("+~").partition("=")[0])]
    settings = read_hydra([word for word in words if word not in own], tree, trusted(own, tree))
    if settings and command != "train":
        raise ConfigError(f"{settings[0].word}: is for training only")
    options = COMMANDS.get(command, {}) if options is None else options
    read = {o.key: o for o in (read_single(_literal(command, word), tree, options) for word in own)}
    if "trust" in read and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # a user's package is often in the folder where dltrain is started
    return Request(
        command,
        tuple(read.values()),
        folders,
        tree,
        load=make_loader(folders),
        targets=_targets,
        suggest=_suggest,
        options=options,
        hydra=settings,
        defaults=defaults or (read_yaml(folders[0] / f"{command}.yaml") if options else {}),
    )


def make_call(request: Request, words: tuple[str, ...] = (), texts: list[str] | None = None) -> Call:
    """Make the call of a command; the text of each config is added to `texts`, since it may refer to secrets."""

    def noted(composed: Composed) -> Composed:
        if texts is not None:
            texts.append(composed.text)
        return composed

    if request.command in COMMANDS or request.options:
        composing.check_overrides(request)  # before the command is imported, which takes a second
    options = noted(composing.compose_options(request)).config if request.options else {}
    return Call(
        words=words,
        overrides=tuple(o.word for o in request.overrides),
        options=options,
        compose=functools.cache(lambda: noted(composing.compose(request))),
        amend=lambda saved: noted(composing.amend(request, saved)),
        folders=request.folders,
    )


def _targets() -> Any:
    """Import the module that turns YAML into objects: it needs jax, which takes a second."""
    return importlib.import_module("dltrain.build.instantiate")


def _suggest(node: Mapping[str, Any], trust: tuple[str, ...]) -> tuple[str, str]:
    """Ask the data for its task: a table's depends on the column that is to be predicted."""
    return importlib.import_module("dltrain.build.suggest").suggest_task(node, trust)


def _literal(command: str, word: str) -> str:
    """Quote the prompt of `generate`, which is text for a model: no character in it has a meaning for Hydra."""
    key, _, text = word.partition("=")
    if (command, key) != ("generate", "prompt") or text in ("", "null") or text[0] in "'\"":
        return word
    return f"{key}={quote(text)}"
