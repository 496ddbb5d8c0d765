"""Paths of data in a config that is saved: absolute, so that a run can be opened from any folder."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dltrain.config.call import Composed

PATHS = ("path", "root", "file", "folder", "directory", "test_path", "validation_path")
"""Arguments of sources and preprocessing steps that name a file or folder, dltrain's own and usual ones."""

PATTERN = re.compile(r"[*?\[{]")  # where a pattern of files begins to be one


def with_absolute_paths(composed: Composed) -> Composed:
    """Make paths of the data absolute that lead to something from the current folder, in config and text."""
    from omegaconf import OmegaConf

    node = composed.config["data"]
    if _absolute("data", node, node)[0] == node:  # parsing the text takes 30 ms
        return composed
    raw = OmegaConf.create(composed.text)
    data, text = _absolute("data", composed.config["data"], OmegaConf.to_container(raw.data, resolve=False))
    if data == composed.config["data"]:
        return composed
    raw.data = text
    return replace(composed, config={**composed.config, "data": data}, text=OmegaConf.to_yaml(raw))


def _absolute(name: str, value: Any, text: Any) -> tuple[Any, Any]:
    """Return the value of a key and the text that it is saved as, with absolute paths."""
    if isinstance(value, Mapping) and isinstance(text, Mapping):
        inside = (
            ("path", "file", "test_path", "validation_path") if value.get("root") else ()
        )  # of the folder root, not of the current folder
        found = {key: _absolute("" if key in inside else key, v, text.get(key)) for key, v in value.items()}
        return {key: pair[0] for key, pair in found.items()}, {**text, **{k: pair[1] for k, pair in found.items()}}
    if isinstance(value, list) and isinstance(text, list) and len(value) == len(text):
        pairs = [_absolute(name, *both) for both in zip(value, text, strict=True)]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if name in PATHS and isinstance(value, str) and isinstance(text, str) and _is_relative(value):
        here = str(Path.cwd())
        escaped = here.replace("${", "\\${")
        return str(Path(here, value)), f"{escaped}/{text}"
    return value, text


def _is_relative(value: str) -> bool:
    """Tell whether a path leads to something from here, or is a pattern of files in a folder that is here."""
    if value.startswith("~") or "://" in value or Path(value).is_absolute():
        return False
    plain = PATTERN.split(value, maxsplit=1)[0]
    return Path(value).exists() or (plain != value and Path(os.path.dirname(plain)).is_dir())
