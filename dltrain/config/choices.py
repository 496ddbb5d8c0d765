"""The choice of each group: typed, else the experiment's, else the recipe's, else the default of train.yaml."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dltrain.config.folders import Tree, no_choice, read_yaml
from dltrain.config.hints import nearest
from dltrain.config.hydra_node import is_plugin
from dltrain.config.request import Override, Request
from dltrain.config.schema import MULTIPLE
from dltrain.errors import ConfigError


def choices(request: Request, *, recipe: str | None = None) -> dict[str, list[str]]:
    """Find the choices of each group before composing: typed, else by the experiment, the recipe, or train.yaml.

    `recipe` is what recipe=auto stands for, once that is known.
    """
    default = chosen_by_file(request.folders[0] / "train.yaml", request.tree)
    chosen = deliberate(request)
    if recipe or chosen.get("recipe") == ["auto"]:
        chosen["recipe"] = [recipe or "auto"]
    name = chosen.get("recipe", default["recipe"])[0]
    return default | chosen_by_file(request.tree["recipe"][name], request.tree) | chosen


def deliberate(request: Request) -> dict[str, list[str]]:
    """Find the choices that the user made, by typing them or by an experiment; model=auto is none."""
    typed = {o.key: listed(o.value) for o in request.groups()}
    chosen = {group: names for group, names in typed.items() if group == "experiment"}
    for name in chosen.get("experiment", []):
        chosen |= chosen_by_file(request.tree["experiment"][name], request.tree)
    chosen |= typed
    return {group: names for group, names in chosen.items() if (group, names) != ("model", ["auto"])}


def wrong_choices(tree: Tree, o: Override) -> list[str]:
    there = tree[o.key]
    if not isinstance(o.value, str | list) and not (o.value is None and o.key == "experiment"):
        example = f"{o.key}={next(iter(there))}"
        return [f"{o.word}: name a choice, such as {example} (choices: {', '.join(there)})"]
    if isinstance(o.value, list) and o.key not in MULTIPLE:
        return [f"{o.word}: one choice only (choices: {', '.join(there)})"]
    return [no_choice(tree, o.key, name) for name in listed(o.value) if name not in there]


def chosen_by_file(path: Path, tree: Tree) -> dict[str, list[str]]:
    """Read the choices in a YAML file's defaults list; messages for a mistyped group or choice name the file."""
    found: dict[str, list[str]] = {}
    entries = read_yaml(path).get("defaults") or []
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: defaults: must be a list, such as: - override /model: cnn")
    for entry in entries:
        for word, value in entry.items() if isinstance(entry, Mapping) else ():
            if is_plugin(word, value):
                continue
            group = str(word).removeprefix("override ").removeprefix("optional ").strip().lstrip("/")
            if group not in tree:
                raise ConfigError(
                    f"{path}: {word}: no such group{nearest(group, tree)} (groups: {', '.join(tree)})"
                )
            for name in listed(value):
                if name not in tree[group]:
                    raise ConfigError(f"{path}: {no_choice(tree, group, name)}")
            found[group] = listed(value)
    return found


def choice_text(o: Override) -> str:
    """Write the choices that an override makes in Hydra's grammar."""
    if o.value is None:
        return "null"
    return words_of(o.value) if isinstance(o.value, list) else word_of(o.value)


def words_of(names: Sequence[str]) -> str:
    """Write a list of choices in Hydra's grammar."""
    return f"[{','.join(map(word_of, names))}]"


def word_of(name: str) -> str:
    """Write a choice in Hydra's grammar; quoted where it looks like a number or a truth value (2024_01_05)."""
    return name if re.match(r"(?!(true|false|null|nan|inf)$)[A-Za-z_]", name, re.IGNORECASE) else f"'{name}'"


def listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(v) for v in value] if isinstance(value, list | tuple) else [str(value)]
