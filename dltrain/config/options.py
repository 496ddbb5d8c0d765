"""The options of a user's command: read from the YAML next to its module."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.config.folders import read_yaml
from dltrain.config.kinds import FLAG, TEXT, Kind, listing, number
from dltrain.config.schema import Key


@dataclass(frozen=True)
class Option:
    """One option: what it may hold and its help text, and its default."""

    key: Key
    default: Any


def read_options(path: Path) -> dict[str, Option]:
    """Read the options; the default decides the kind of value, the comment behind it is the help text.

    Args:
        path: the YAML file, which need not be there; `name: default  # help`.
    """
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = {m[1]: m[2].strip() for line in lines if (m := re.match(r"(\w+):.*?\s#\s*(.*)", line))}
    return {
        name: Option(Key(_kind(default), comments.get(name, f"Option of {path.stem}")), default)
        for name, default in read_yaml(path).items()
    }


def _kind(default: Any) -> Kind:
    if isinstance(default, bool):
        return FLAG
    if isinstance(default, int):
        return Kind("a whole number", _whole)
    if isinstance(default, float):
        return number()
    if isinstance(default, str):
        return TEXT
    if isinstance(default, list) and default:
        return listing(_kind(default[0]))
    return Kind("any value", _same)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise ValueError
    return int(value)


def _same(value: Any) -> Any:
    return value
