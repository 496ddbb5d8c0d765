"""The YAML that `dltrain init` writes: an experiment for your data, with each choice as a comment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dltrain.build.look import Look
from dltrain.config.call import Composed
from dltrain.config.schema import GROUPS, NODES

COMMENTED = ("validation", "test", "split", "group", "time", "split_column", "scale")
"""Keys of the data that a starter lists where they are not set."""
LENGTH = ("epochs", "steps", "batch_size", "early_stopping", "seed")


def starter(composed: Composed, look: Look, words: Sequence[str], command: str) -> str:
    """Return the YAML.

    Args:
        composed: the config that the words make.
        look: the data.
        words: what is set, `group=choice` and `key=value`.
        command: the command that trains from the file.
    """
    keys = [word.partition("=")[0] for word in words]
    config, chosen = composed.config, composed.choices
    lines = ["# @package _global_", f"# {_title(composed, look)}; train with: {command}"]
    lines += [f"# {line}".rstrip() for line in _found(look)]
    lines += ["defaults:"]
    for group in ("data", *(g for g in GROUPS if g in keys and g not in ("data", "task", "experiment"))):
        lines.append(f"  - override /{group}: {_plain(_choice(chosen[group]))}")
    why = composed.automatic.get("task", "as you set it").partition("(")[2].rstrip(")") or "as you set it"
    lines.append(f"  - override /task: {chosen['task']}  # {why}")
    for group, reason in composed.automatic.items():
        if group not in ("task", *keys):
            lines.append(f"  # {group}: {reason}")
    lines += ["", "data:"]
    lines += [f"  {key.removeprefix('data.')}: {_plain(_at(config, key))}" for key in _set(keys, "data")]
    lines += _offered(config["data"], [key.removeprefix("data.") for key in _set(keys, "data")])
    for group in (g for g in GROUPS if g != "data" and _set(keys, g)):
        lines += [f"{group}:"]
        lines += [f"  {key.removeprefix(f'{group}.')}: {_plain(_at(config, key))}" for key in _set(keys, group)]
    tops = [key for key in keys if key.split(".")[0] not in GROUPS]
    lines += [f"{key}: {_plain(_at(config, key))}" for key in tops if "." not in key]
    lines += [f"# {key}: {_plain(config[key])}" for key in LENGTH if key not in tops and config[key] is not None]
    return "\n".join(lines) + "\n"


def _title(composed: Composed, look: Look) -> str:
    names = ", ".join(look.spec.targets) or "nothing"
    path = composed.config["data"].get("path")
    what = Path(str(path)).name if path else composed.choices["data"]
    return f"{what}: predict {names} ({look.spec.task})"


def _found(look: Look) -> list[str]:
    """Return what the source says about its files, as lines."""
    about = look.description
    if about is None:
        return []
    rows = [about.headings, *about.rows] if about.rows else []
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(about.headings))] if rows else []
    table = ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return ["", *about.notes, *([""] if table else []), *table]


def _offered(node: Mapping[str, Any], there: Sequence[str]) -> list[str]:
    """Return commented lines for the keys that people change, with what they do, and the source's own arguments."""
    lines = [
        f"  # {key}: {_plain(node[key])}  # {NODES['data'][key].line}"
        for key in COMMENTED
        if key in node and key not in there
    ]
    own = [key for key in node if key not in NODES["data"] and key not in (*there, "_target_")]
    return lines + [f"  # {key}: {_plain(node[key])}" for key in own]


def _set(keys: Sequence[str], group: str) -> list[str]:
    return [key for key in keys if key.startswith(f"{group}.")]


def _choice(text: str) -> Any:
    names = text.split(",")
    return names if len(names) > 1 else text


def _at(config: Mapping[str, Any], path: str) -> Any:
    node: Any = config
    for part in path.split("."):
        node = node[part]
    return node


def _plain(value: Any) -> str:
    """Write a value on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
