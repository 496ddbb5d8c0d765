"""Which runs of earlier sweeps have finished, written down when a sweep begins; from their summaries alone.

A process that trains a job looks there for a run with the config of the job (`sweep/known.py`).
"""

import contextlib
import itertools
import os
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dltrain.config.places import ADDRESS
from dltrain.errors import CheckpointError, ConfigError
from dltrain.runs.files import Files
from dltrain.runs.sealed import check_summary, read_sealed, seal
from dltrain.runs.sweep_files import JOBS, LIST

EARLIER = "earlier.json"  # in the folder JOBS of a sweep: digest of a config -> folders of runs, the newest first
AUTO = "auto"
TOP = "multirun"  # where sweeps are put by day and time, unless a folder is named
DEPTH = 2  # folders between a folder that is named in sweep.known and its sweeps or runs
PATTERN = "*?["
MOST = 20_000  # runs whose summaries are read, at half a millisecond each
MANY = 2000  # after which the user is told what takes so long

FINISHED = ("all steps done", "early stopping: ")
"""How the reason begins for which a run has ended, if that follows from its config."""


def write_earlier(sweep: Path, settings: Mapping[str, Any]) -> None:
    """Write down the finished runs whose results a new sweep may take; `settings` is the node `sweep`.

    Raises:
        ConfigError: a folder of `sweep.known` does not exist.
    """
    found: dict[str, list[tuple[float, str]]] = {}
    runs = () if settings["repeat"] else itertools.islice(_runs(sweep, settings["known"]), MOST)
    for number, path in enumerate(dict.fromkeys(runs)):
        if number == MANY:
            print("known   reading the results of many earlier sweeps; without them: sweep.repeat=true", flush=True)
        with contextlib.suppress(OSError, CheckpointError):  # what cannot be read is not known
            if config := _finished(path / "summary.json"):
                found.setdefault(config, []).append(((path / "summary.json").stat().st_mtime, str(path)))
    files = Files(sweep) / JOBS
    if not found:
        return files.remove(EARLIER)
    files.replace_json(
        EARLIER, seal({key: [path for _, path in sorted(some)[::-1]] for key, some in found.items()})
    )


def read_earlier(sweep: Path) -> dict[str, list[str]]:
    """Read what `write_earlier` has written; empty if nothing is known."""
    try:
        return read_sealed(sweep / JOBS / EARLIER)
    except CheckpointError:
        return {}


def check_known(known: str | Sequence[str]) -> None:
    """Raise ConfigError unless the folders that `sweep.known` names are there; a pattern may match nothing."""
    for text in [] if known == AUTO else known:
        if ADDRESS.match(text):
            raise ConfigError(f"sweep.known={text}: must be a folder on this machine")
        if not _is_pattern(text) and not Path(text).expanduser().is_dir():
            raise ConfigError(f"sweep.known={text}: folder not found; name folders of sweeps or runs, or outputs/*")


def _runs(sweep: Path, known: str | Sequence[str]) -> Generator[Path]:
    """Yield the folders of the runs that `sweep.known` stands for, except those of the sweep itself."""
    if known == AUTO:
        for place in beside(sweep):
            yield from _jobs(place)
        return
    for text in known:
        plain = Path(text).expanduser()
        places = (
            sorted(Path(plain.anchor).glob(str(plain.relative_to(plain.anchor)))) if _is_pattern(text) else [plain]
        )
        for place in places:
            yield from _below(place.resolve(), sweep, DEPTH)


def beside(sweep: Path) -> list[Path]:
    """Return the sweeps next to one, or in the same `multirun`, in folders of the same user; the newest first."""
    top = next((path for path in sweep.parents if path.name == TOP), None)
    places = [place for day in _inside(top) for place in _inside(day)] if top else _inside(sweep.parent)
    mine = [path for path in places if path != sweep and _is_mine(path) and os.path.isfile(path / LIST)]
    return sorted(mine, key=lambda path: os.stat(path / LIST).st_mtime, reverse=True)


def _inside(folder: Path) -> list[Path]:
    """List what a folder holds; nothing if it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _below(place: Path, sweep: Path, depth: int) -> Generator[Path]:
    """Yield the runs that a folder is, or holds, itself or in folders inside it."""
    if place == sweep:
        return
    if os.path.isfile(place / LIST):  # unlike a path's own method, this is false where access is denied
        yield from _jobs(place)
    elif os.path.isfile(place / "summary.json"):
        yield place
    elif depth:
        for inside in _inside(place):
            yield from _below(inside.resolve(), sweep, depth - 1)


def _jobs(sweep: Path) -> Generator[Path]:
    """Yield the folders of the jobs of a sweep."""
    with contextlib.suppress(OSError):
        for name in (sweep / LIST).read_text(encoding="utf-8", errors="replace").splitlines():
            path = (sweep / name).resolve()
            if sweep.resolve() in path.parents and os.path.isfile(path / "summary.json"):
                yield path


def _finished(path: Path) -> str:
    """Return the digest of the config of a run that came to its end, given its summary; "" if it did not."""
    summary = read_sealed(path)
    check_summary(path, summary)
    ended = str(summary.get("stop_reason", "")).startswith(FINISHED)
    return str((summary.get("identity") or {}).get("config", "")) if ended else ""


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in PATTERN)


def _is_mine(path: Path) -> bool:
    """Tell whether a folder is this user's: what others put next to it is not believed, unless it is named."""
    try:
        return os.stat(path).st_uid == os.getuid()
    except OSError:
        return False
