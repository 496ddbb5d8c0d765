"""Tab completion: Hydra completes keys and values; commands, choices and groups are completed here."""

import contextlib
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dltrain.composition.loader import run_hydra
from dltrain.config.catalogue import catalogue
from dltrain.config.folders import read_tree, roots
from dltrain.errors import ConfigError

LEVELS = 3  # of folders: outputs/<date>/<time>-<name>
MOST_RUNS = 100
WITHOUT_RUN = ("train", "doctor", "find-lr", "find-batch")  # commands that take no run folder
READERS = ("report", "compare")  # commands that take no keys of a run's config
SEVERAL = ("compare", "ensemble")  # commands that take several runs, and sweeps


def complete(wanted: str, known: Mapping[str, Any]) -> int:
    """Answer the shell's question in COMP_LINE, or print the script that installs completion."""
    if not re.fullmatch(r"(install|uninstall|query)=(bash|zsh|fish)", wanted):
        raise ConfigError(f"-sc {wanted}: must be install=bash, zsh or fish, or uninstall=bash")
    if not wanted.startswith("query="):
        print(_ask_hydra(wanted, None).rstrip("\n"))
        return 0
    words = os.environ.get("COMP_LINE", "").split(" ")
    place = words[words.index("--config-dir") + 1] if "--config-dir" in words[:-2] else None
    *before, last = [w for w in words[1:] if w not in ("--config-dir", place)] or [""]
    command = next((w for w in before if w in known), None)
    tree, group = read_tree(roots(place)), last.partition("=")[0]
    if command == "list":
        print(" ".join(catalogue(tree)))
    elif "=" not in last and _takes_run(command, [w for w in before if w != command and w]):
        several = command in SEVERAL  # whose options may be the next word, too
        keys = known[command].keys if command and several else ()
        options = [f"{key}=" for key in keys if last and key.startswith(last)]
        print(" ".join([*options, *run_folders(last, sweeps=several)]))
    elif "=" in last and group in tree:
        print(" ".join(f"{group}={choice}" for choice in tree[group]))
    else:
        first = command is None and not [w for w in before if "=" in w]
        found = [name for name in known if first and name.startswith(last)]
        found += [f"{key}=" for key in known[command].keys if key.startswith(last)] if command else []
        os.environ["COMP_LINE"] = " ".join(["dltrain", *(w for w in before if "=" in w), last])
        answer = [] if command in READERS else _ask_hydra(wanted, place).split()
        print(" ".join([*found, *(word for word in answer if not word.startswith("hydra"))]))
    return 0


def _takes_run(command: str | None, before: list[str]) -> bool:
    """Tell whether the next word of a command is a run folder, after these words."""
    several = command in SEVERAL and not [word for word in before if "=" in word]
    return command is not None and command not in WITHOUT_RUN and (several or not before)


def run_folders(start: str, *, sweeps: bool = False) -> list[str]:
    """List the run folders whose path begins with what was typed, at most LEVELS below it, the last ones first.

    With `sweeps`, also the folders of sweeps, each before its jobs.
    """
    parent, slash, beginning = start.rpartition("/")
    found: list[str] = []
    places = [(f"{parent}{slash}{name}", LEVELS) for name in _folders(parent + slash or ".", beginning)]
    while places and len(found) < MOST_RUNS:
        place, left = places.pop()
        if (Path(place) / "config.yaml").is_file():
            found.append(place)
            continue
        if sweeps and (Path(place) / "jobs.txt").is_file():
            found.append(place)
        if left:
            places += [(f"{place}/{name}", left - 1) for name in _folders(place, "")]
    return [place for place in found if not re.search(r"\s", place)]  # the shell parts the answer at spaces


def _folders(place: str, beginning: str) -> list[str]:
    """List the names of folders in a place that begin so, in order; hidden ones only if asked for."""
    try:
        names = sorted(entry.name for entry in os.scandir(place) if entry.is_dir())
    except OSError:
        return []
    return [name for name in names if name.startswith(beginning) and (beginning or not name.startswith("."))]


def _ask_hydra(wanted: str, place: str | None) -> str:
    folders = roots(place)
    more = ["--config-dir", str(folders[1])] if len(folders) > 1 else []
    answer = io.StringIO()
    with contextlib.redirect_stdout(answer):
        run_hydra(folders, lambda _: None, *more, "-sc", wanted)
    return answer.getvalue()
