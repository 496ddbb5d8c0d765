"""What a search does, read from the command line and checked before anything is written."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain import __version__
from dltrain.build.instantiate import describe
from dltrain.composition import objective
from dltrain.composition.compose import make_call, make_request
from dltrain.config.checks import check_alone
from dltrain.config.folders import Tree
from dltrain.config.request import Override
from dltrain.config.schema import GROUPS, MULTIPLE, find_key
from dltrain.errors import ConfigError
from dltrain.report.console import print_warning
from dltrain.runs.sealed import read_sealed
from dltrain.sweep.space import Dimension, read_space
from dltrain.sweep.study import check_settings

KEPT = ("sweep.objectives", "sweep.constraints")  # keys of the node `sweep` that its jobs have, too
OWN = ("output_dir", "overwrite", "quiet")  # typed for the search as a whole

Found = Mapping[str, tuple[Override, list[Override] | None]]
"""Key -> the override, and its values if there are several."""


@dataclass(frozen=True)
class Plan:
    """What a search does, read from the command line."""

    settings: Mapping[str, Any]  # the node `sweep`
    space: tuple[Dimension, ...]
    fixed: tuple[str, ...]  # the words that were typed for all jobs
    typed: tuple[str, ...]  # all words, to type them again
    directions: tuple[str, ...]
    folders: tuple[Path, ...]
    config: str  # digest of the config of a trial, without what is searched
    quiet: bool
    dry: bool
    extra: tuple[str, ...] = ()  # words of all jobs that follow from how they are started

    @property
    def words(self) -> tuple[str, ...]:
        """The words that all jobs have."""
        return (*self.fixed, *self.extra)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that have one value in all jobs."""
        return tuple(word.partition("=")[0] for word in self.words)

    def to_json(self) -> dict[str, Any]:
        """What must stay the same if a search goes on."""
        kept = [word for word in self.fixed if word.partition("=")[0] not in OWN]
        space = sorted((d.to_json() for d in self.space), key=lambda d: d["key"])
        about = {"space": space, "fixed": sorted(kept), "directions": list(self.directions)}
        return {**about, "config": self.config}


def make_plan(found: Found, config: Mapping[str, Any], folders: tuple[Path, ...], tree: Tree) -> Plan:
    """Check what is searched: each range by its ends, and the first combination as a whole."""
    settings = config["sweep"]
    several = next((o for key, (o, v) in found.items() if v is not None and key.partition(".")[0] == "sweep"), None)
    if several:
        raise ConfigError(f"{several.word}: a search has one value of each of its own settings")
    space = read_space(found, {key: _admitted(key, config) for key, (_, v) in found.items() if v == []})
    check_settings(settings, space)
    if settings["pruner"] != "none" and any("/" not in name for name in settings["objectives"]):
        raise ConfigError(
            f"sweep.pruner={settings['pruner']} sweep.objectives={settings['objectives']}: pruning compares a "
            "metric of evaluations, such as validation/loss"
        )
    words = [o.typed for o, values in found.values() if values is None]
    fixed = [word for word in words if _is_of_jobs(word)]
    for dimension in space:
        _check_ends(found[dimension.key][0], dimension)
    composed = [
        make_call(
            make_request("train", [*fixed, *(d.ends()[n if d.is_numeric else 0] for d in space)], folders, tree)
        )
        for n in (0, 1)
    ]
    first, _ = [call.compose() for call in composed]
    return Plan(
        settings=settings,
        space=space,
        fixed=tuple(fixed),
        typed=tuple(o.word for o, _ in found.values() if o.key not in ("output_dir", "overwrite")),
        directions=tuple(objective.directions(config)),
        folders=folders,
        config=_digest(first.config),
        quiet=config["quiet"],
        dry=config["dry_run"],
    )


def read_study_name(path: Path, plan: Plan) -> str:
    """Return the name of the study that the folder has, or raise ConfigError if it is of another search."""
    before, now = read_sealed(path), plan.to_json()
    version = str(before.get("version"))
    if different := [key for key in now if before.get(key) != now[key] and key != "config"]:
        was = " ".join(map(str, before.get("words", [])))
        raise ConfigError(
            f"output_dir={path.parent}: holds another search ({', '.join(different)} differ; there: {was}); give "
            "the same overrides to go on with it, choose another folder, or set overwrite=true"
        )
    if before.get("config") != now["config"]:
        raise ConfigError(
            f"output_dir={path.parent}: what its overrides stand for has changed since this search began (YAML, or "
            f"defaults of dltrain, then {version}, now {__version__}), so results could not be compared; choose "
            "another folder, or set overwrite=true"
        )
    if version != __version__:
        print_warning(
            f"warning: this search began with dltrain {version}, and this is {__version__}: results of before are "
            "kept, and are not taken over for combinations that are chosen again"
        )
    return str(before["study"])


def _digest(config: Mapping[str, Any]) -> str:
    """Return what tells whether YAML or defaults have changed since a search began."""
    kept = {key: value for key, value in config.items() if key not in (*OWN, "sweep", "runtime")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def _is_of_jobs(word: str) -> bool:
    key = word.lstrip("~").partition("=")[0]
    if key in ("output_dir", "overwrite") or word == "experiment=null":
        return False
    return key in KEPT or key.partition(".")[0] != "sweep"


def _admitted(key: str, config: Mapping[str, Any]) -> str:
    """Describe the values that a key may have; "" if nothing is known about it."""
    if known := find_key(key):
        return known.kind.words
    group, _, name = key.partition(".")
    node, path = config.get(group), group
    if group in MULTIPLE:
        part, _, name = name.partition(".")
        node, path = (node or {}).get(part), f"{group}.{part}"
    if group not in GROUPS or not isinstance(node, Mapping) or "_target_" not in node:
        return ""
    return describe(node, path=path, trust=config["trust"]).get(name, "")


def _check_ends(o: Override, dimension: Dimension) -> None:
    if not dimension.is_numeric:
        return
    for value in (dimension.low, dimension.high):
        if faults := check_alone(o.key, int(value) if dimension.whole else value):
            raise ConfigError(f"{o.word}: {faults[0]}")
