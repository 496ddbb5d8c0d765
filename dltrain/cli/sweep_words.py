"""What was typed for a sweep, read and checked with the config of its first combination."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.composition import objective
from dltrain.composition.compose import make_call, make_request
from dltrain.composition.overrides import read
from dltrain.composition.settings import Settings, compose_whole, hydra_words, read_hydra, read_settings, trusted
from dltrain.config.compose import check_sweep
from dltrain.config.folders import Tree
from dltrain.config.hydra_node import is_hydra
from dltrain.config.request import Override
from dltrain.errors import ConfigError
from dltrain.sweep.earlier import check_known
from dltrain.sweep.folder import claim

Found = dict[str, tuple[Override, list[Override] | None]]
"""Key -> the override, and its values if there are several."""


@dataclass(frozen=True)
class Typed:
    """What was typed for a sweep, with the config of its first combination."""

    own: Found
    params: Found  # of the YAML of the sweeper
    config: Mapping[str, Any]
    settings: Settings
    hydra: tuple[Override, ...]
    trust: Sequence[str]  # words that name packages of the user
    place: str | None
    folders: tuple[Path, ...]
    tree: Tree

    @property
    def found(self) -> Found:
        """All keys that a job may set."""
        return {**self.params, **self.own}

    @property
    def fixed(self) -> list[Override]:
        """The typed overrides that all jobs have."""
        return [o for o, values in self.own.values() if values is None]

    @property
    def sampler(self) -> str:
        """How combinations are chosen."""
        return self.config["sweep"]["sampler"]

    @property
    def overwrite(self) -> bool:
        """Whether what an earlier sweep left is replaced."""
        return any(o.key == "overwrite" and (values or [o])[0].value is True for o, values in self.own.values())

    @property
    def where(self) -> str | None:
        """The folder that was named."""
        return self.place or self.settings.sweep_dir or None

    def claim(self) -> Path:
        """Claim the folder."""
        return claim(self.where, overwrite=self.overwrite)


def read_sweep(words: Sequence[str], folders: tuple[Path, ...], tree: Tree) -> Typed:
    """Read and check the words of a sweep."""
    own = [w for w in words if not is_hydra(w.lstrip("+~").partition("=")[0])]
    typed = read_hydra([w for w in words if w not in own], tree, trusted(own, tree))
    found: Found = {o.key: (o, values) for o, values in (read(w, tree) for w in own)}
    place, config = _place(found, folders, tree)
    fixed = [o for o, values in found.values() if values is None]
    first = [o if values is None else values[0] for o, values in found.values() if values is None or values]
    groups = [o.word for o in first if o.key in tree]
    whole = compose_whole(
        [*groups, *(o.for_hydra for o in fixed if o.key not in tree), *hydra_words(typed)], folders
    )
    settings = read_settings(whole)
    if params := _params(settings, found, tree):
        config = _check({**params, **found}, folders, tree)
    objective.check_constraints(config)
    check_known(config["sweep"]["known"])
    if config["runtime"]["hosts"] is not None:
        raise ConfigError("runtime.hosts: a sweep trains each job in one process; leave it out")
    if config["runtime"]["elastic"]:
        raise ConfigError(
            "runtime.elastic: is for a single run; a sweep is continued with dltrain -m --resume SWEEP"
        )
    return Typed(found, params, config, settings, typed, trust_words(words), place, folders, tree)


def trust_words(words: Sequence[str]) -> list[str]:
    """Return the words that name packages of the user."""
    return [word for word in words if word.startswith("trust=")]


def _place(found: Found, folders: tuple[Path, ...], tree: Tree) -> tuple[str | None, dict[str, Any]]:
    """Take the folder of the sweep out of the overrides; return it with the config of the first combination."""
    if "output_dir" not in found:
        return None, _check(found, folders, tree)
    o = found["output_dir"][0]
    varied = [key for key, (_, several) in found.items() if several is not None]
    named = [key for key in varied if key == "output_dir" or re.search(rf"\$\{{\s*{re.escape(key)}\b", o.text)]
    if named:
        raise ConfigError(
            f"{o.word}: names the folder of the whole sweep, and {named[0]} differs between its jobs; name their "
            f"folders inside it: output_dir=FOLDER 'hydra.sweep.subdir=NAME-${{{varied[0]}}}'"
        )
    config = _check(found, folders, tree)
    del found["output_dir"]
    return config["output_dir"], config | {"output_dir": None}


def _check(found: Found, folders: tuple[Path, ...], tree: Tree) -> dict[str, Any]:
    """Check each value separately and the first combination as a whole; return its config."""
    check_sweep([v for _, values in found.values() for v in values or []], tree)
    first = [o if values is None else values[0] for o, values in found.values() if values is None or values]
    return make_call(make_request("train", [o.typed for o in first], folders, tree)).compose().config


def _params(settings: Settings, found: Found, tree: Tree) -> Found:
    """Read the parameters in the sweeper's node, those of a sweep in a file; typed ones take precedence."""
    params = settings.sweeper.get("params") or {}
    if any(isinstance(value, Mapping | list) for value in params.values()):
        return {}  # of a sweeper with another format
    words = (read(f"{key}={value}", tree) for key, value in params.items())
    return {o.key: found.get(o.key, (o, values)) for o, values in words}
