"""What `init` and `inspect` share: the config of data that may not name its target yet."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dltrain.composition.compose import compose_words
from dltrain.composition.overrides import write
from dltrain.config.call import Call, Composed
from dltrain.config.folders import parse_yaml
from dltrain.data.tables.files import find_files
from dltrain.data.tables.guess import guess_target
from dltrain.data.tables.options import Options
from dltrain.data.tables.read import read_table
from dltrain.errors import ConfigError

PLAIN = re.compile(r"[A-Za-z_]\w*")  # a name that needs no quotes
LARGEST = 1 << 36  # bytes of a file that is read for its columns


def compose_data(call: Call, more: Mapping[str, Any]) -> tuple[Composed, list[str], str]:
    """Compose the config of the data that is typed; of a table without a target, one is guessed.

    Args:
        call: the call.
        more: keys of the data to set where its YAML has them and they are not typed.

    Returns:
        The config, the words that are set (typed or guessed), and a line about a guess, or "".
    """
    words = [word for word in call.overrides if word.partition("=")[0] not in call.options]
    typed = {key: value for key, _, value in (word.partition("=") for word in words)}
    if "data" not in typed:
        raise ConfigError("name the data: data=table data.path=FILE, data=images data.path=FOLDER, and the like")
    guessed = ""
    if typed["data"] == "table" and "data.path" in typed and "data.target" not in typed:
        target, why = guess_target(_columns(typed))
        words.append(f"data.target={target if PLAIN.fullmatch(target) else write(target)}")
        guessed = f"target  {target} ({why}); choose another with data.target=..."
    folder = str(call.folders[1]) if len(call.folders) > 1 else None
    added = [f"data.{key}={write(value)}" for key, value in more.items() if f"data.{key}" not in typed]
    if added:
        node = _node(call, typed["data"])
        added = [word for word in added if word.partition("=")[0].removeprefix("data.") in node]
    return compose_words(*words, *added, config_dir=folder), words, guessed


def name_of(typed: Mapping[str, Any]) -> str:
    """Return a name for files about the data: that of its file or folder, else that of the choice."""
    path = typed.get("data.path") or typed.get("data")
    stem = Path(str(path)).name.split(".")[0] or "data"
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in stem)


def _columns(typed: Mapping[str, str]) -> list[str]:
    if "data.columns" in typed:
        return [str(name) for name in parse_yaml(f"columns: {typed['data.columns']}")["columns"]]
    files = find_files({"train": typed["data.path"].strip("'\"")}, root=typed.get("data.root"))
    return list(read_table(files.paths[:1], Options(), most=LARGEST).frame.columns)


def _node(call: Call, choice: str) -> Mapping[str, Any]:
    """Return the YAML of a choice of data."""
    for folder in reversed(call.folders):
        path = folder / "data" / f"{choice}.yaml"
        if path.is_file():
            return parse_yaml(path.read_text(encoding="utf-8"))
    return {}
