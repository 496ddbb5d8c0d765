"""A sweep that did not come to its end: which jobs are left, and the commands that finish them."""

import importlib
import itertools
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dltrain.config.request import Override
from dltrain.runs.files import Files
from dltrain.runs.sweep_files import JOBS, POPULATION

PLAN = "plan.json"  # in the folder JOBS of a sweep: the words of every job, by number
FEW = 5  # jobs that are listed
MOST = 10_000  # jobs that are written down


def write_plan(folder: Path, found: Sequence[tuple[Override, list[Override] | None]]) -> None:
    """Write down every combination, numbered as by Hydra's own sweeper; other sweepers decide as they go."""
    lists = [[o.typed] if values is None else [v.typed for v in values] for o, values in found]
    plan = [list(words) for words in itertools.islice(itertools.product(*lists), MOST)]
    (Files(folder) / JOBS).replace_text(PLAN, json.dumps(plan))


def read_notes(folder: Path) -> list[dict[str, Any]]:
    """Read what the jobs noted, in their order."""
    paths = sorted((p for p in (folder / JOBS).glob("*.json") if p.stem.isdigit()), key=lambda path: int(path.stem))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def what_is_left(folder: Path) -> list[str]:
    """Say how to finish the jobs of a sweep in this folder: lines to print, none if all of them are done."""
    make = importlib.import_module("dltrain.runs.folder").RunFolder
    if (folder / POPULATION).is_file():  # no member goes on without the others
        return ["the population has not trained to its end"] if (folder / JOBS).is_dir() else []
    plan = _read_plan(folder)
    started = {int(path.name): path for path in folder.iterdir() if path.name.isdigit() and path.is_dir()}
    lines = []
    for number, path in sorted(started.items()):
        run = make(path)
        run.trust = tuple(_trust(plan[number])) if number < len(plan) else ()
        if run.config.is_file() and not run.summary.exists():
            lines.append(f"job {number} is not finished: {run.command('resume')}")
    for number, words in enumerate(plan):
        if number not in started or not (started[number] / "config.yaml").exists():
            typed = " ".join(shlex.quote(word) for word in words)
            place = shlex.quote(f"output_dir={folder / str(number)}")
            lines.append(f"job {number} did not train: dltrain {typed} {place}")
    return lines if len(lines) <= FEW else [*lines[:FEW], f"and {len(lines) - FEW} more jobs"]


def _read_plan(folder: Path) -> list[list[str]]:
    try:
        return json.loads((folder / JOBS / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of another sweeper, or of a sweep that has ended
        return []


def _trust(words: Sequence[str]) -> list[str]:
    given = [word.partition("=")[2].strip("[]").split(",") for word in words if word.startswith("trust=")]
    return [name.strip("' ") for name in given[-1]] if given else []
