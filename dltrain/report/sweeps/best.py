"""The config of a job as an experiment: a file that trains it again.

It lists the choice of each group, and the keys whose values are not those of the choice's own YAML. So it needs
neither the command line of the sweep nor the user's own folder of YAML.
"""

import functools
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dltrain.config.changes import read_saved
from dltrain.config.folders import packaged, read_yaml
from dltrain.config.places import ADDRESS
from dltrain.config.schema import GROUPS, MULTIPLE, node_keys
from dltrain.report.sweeps.jobs import Job
from dltrain.runs.files import Files
from dltrain.runs.folder import RunFolder

NAME = "best"
LEFT_OUT = ("output_dir", "overwrite", "trust", "quiet", "dry_run", "task.models")
"""Keys that say where a run writes and how it prints, or that are filled in."""
_MISSING = object()


@dataclass(frozen=True)
class Experiment:
    """YAML files, and what has to be typed when they are used."""

    files: Mapping[str, str]  # GROUP/NAME.yaml -> text
    words: tuple[str, ...] = ()  # overrides that a file may not hold

    def command(self, folder: Path) -> str:
        """Return the command that trains it, for files in `folder`."""
        return shlex.join(["dltrain", "--config-dir", str(folder), f"experiment={NAME}", *self.words])


def write_best(folder: Path, job: Job, about: str, numbers: Mapping[str, float] | None = None) -> Experiment:
    """Write the config of a job as `experiment/best.yaml` of a folder; `about` is one line on what it is.

    `numbers` are those by which training has replaced numbers of the config.

    Raises:
        ConfigError: its config.yaml cannot be read.
        DiskError: the files cannot be written.
    """
    found = experiment(job, about, numbers)
    for name, text in found.files.items():
        group, _, file = name.partition("/")
        (Files(folder) / group).replace_text(file, text)
    return found


def experiment(job: Job, about: str, numbers: Mapping[str, float] | None = None) -> Experiment:
    """Return the config of a job as an experiment, with these numbers in the place of its own."""
    config = read_saved(RunFolder(job.folder).config)
    for key, value in (numbers or {}).items():
        *path, name = key.split(".")
        functools.reduce(lambda node, part: node[part], path, config)[name] = value
    for key in LEFT_OUT:
        _drop(config, key)
    defaults, files, base = ["  - override /recipe: none"], {}, read_yaml(packaged() / "train.yaml")
    for group in (g for g in GROUPS if g not in ("recipe", "experiment") and g in config):
        node = base.get(group) or {}
        own = _packaged_node(group, job.choices.get(group, ""))
        if own is None or own.get("_target_") != config[group].get("_target_"):
            files[f"{group}/{NAME}.yaml"] = f"# {group} of the best job\n{_dump(config[group])}"
            base[group], choice = config[group], [NAME] if group in MULTIPLE else NAME
        else:
            base[group], names = _merged(node, own), job.choices[group].split(",")
            choice = names if group in MULTIPLE else names[0]
        defaults.append(f"  - override /{group}: {_line(choice)}")
    changed, words = _changes(base, config)
    trust = _trust(job)
    words = ([f"trust=[{','.join(trust)}]"] if trust else []) + words
    head = ["# @package _global_", f"# {' '.join(about.split())}", "defaults:", *defaults]
    files[f"experiment/{NAME}.yaml"] = "\n".join([*head, _dump(changed)]) if changed else "\n".join([*head, ""])
    return Experiment(files, tuple(words))


def _packaged_node(group: str, choice: str) -> dict[str, Any] | None:
    """Return the YAML of dltrain's own choices, merged; None if one is not dltrain's, or is unknown."""
    paths = [packaged() / group / f"{name}.yaml" for name in choice.split(",")]
    if not choice or not all(path.is_file() for path in paths):
        return None
    node: dict[str, Any] = {}
    for path in paths:
        node = _merged(node, {key: value for key, value in read_yaml(path).items() if key != "defaults"})
    return node


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings; where both have a value, the second counts."""
    both = {
        key: _merged(first[key], value)
        if isinstance(value, Mapping) and isinstance(first.get(key), Mapping)
        else value
        for key, value in second.items()
    }
    return {**first, **both}


def _changes(base: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what a config sets besides `base`, as nested keys, and as words what a file may not set."""
    changed: dict[str, Any] = {}
    words: list[str] = []
    for path, value in _differing(base, config, ()):
        key = ".".join(path)
        if value is _MISSING:
            words += [f"~{key}"] if _is_argument(path) else []
        elif isinstance(value, str) and ("${" in value or ADDRESS.search(value)):
            words.append(f"{key}={_quoted(value)}")
        else:
            node = changed
            for part in path[:-1]:
                node = node.setdefault(part, {})
            node[path[-1]] = value
    return changed, words


def _differing(
    base: Mapping[str, Any], config: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each key that differs with its value in `config`, _MISSING if it is removed there from a part."""
    for key, value in config.items():
        before = base.get(key, _MISSING)
        if isinstance(value, Mapping) and isinstance(before, Mapping) and before:
            yield from _differing(before, value, (*path, key))
        elif before is _MISSING or before != value or isinstance(before, bool) != isinstance(value, bool):
            yield (*path, key), value
    if path:
        yield from (((*path, key), _MISSING) for key in base if key not in config)


def _is_argument(path: tuple[str, ...]) -> bool:
    """Tell whether this is an argument of a part: keys that dltrain reads itself cannot be removed."""
    group, *inside = path
    return group in GROUPS and bool(inside) and inside[0] not in node_keys(group)


def _drop(config: dict[str, Any], key: str) -> None:
    parent, _, last = key.rpartition(".")
    node = config.get(parent) if parent else config
    if isinstance(node, dict):
        node.pop(last, None)


def _trust(job: Job) -> list[str]:
    """Return the packages that the job was told to trust: no file may name them."""
    given = [word.partition("=")[2] for word in job.overrides if word.lstrip("+").startswith("trust=")]
    return [name.strip("' \"") for name in given[-1].strip("[]").split(",")] if given else []


def _quoted(text: str) -> str:
    """Write a text in Hydra's grammar."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def _dump(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)


def _line(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
