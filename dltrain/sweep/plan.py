"""What a sweep is going to do, kept in its folder until all of it is done: the config of every job, composed once.

Editing YAML changes nothing in a sweep under way, and `dltrain -m --resume SWEEP` runs what is missing.
"""

import contextlib
import importlib
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dltrain.config.call import Composed
from dltrain.config.folders import parse_yaml
from dltrain.errors import CheckpointError, ConfigError
from dltrain.runs.files import Files
from dltrain.runs.sealed import read_sealed, seal
from dltrain.runs.sweep_files import JOBS
from dltrain.sweep.groups import SweepJob

CONFIGS, LANES = "configs.json", "lanes.json"
PLACED = ("lanes", "place", "shares")  # what is noted of a job, as `SweepJob` names it

Amend = Callable[[Mapping[str, Any]], Composed]
"""Checks a saved config."""


def write_configs(sweep: Path, jobs: Sequence[SweepJob]) -> None:
    """Save the config of every job, before the first one trains."""
    saved = [
        {
            "number": job.number,
            "words": list(job.words),
            "folder": str(job.folder.relative_to(sweep)),
            "label": job.label,
            "choices": job.composed.choices,
            "config": job.composed.text,
        }
        for job in jobs
    ]
    (Files(sweep) / JOBS).replace_json(CONFIGS, seal({"jobs": saved}))


def has_configs(sweep: Path) -> bool:
    """Tell whether the jobs of a sweep were composed before they train; a sampler decides on them one by one."""
    return (sweep / JOBS / CONFIGS).exists()


def forget_plan(sweep: Path) -> None:
    """Remove the plan of a sweep that is done, last of all: until then a process that is killed can be resumed.

    The configs go first. Without the notes on jobs that failed, these would be trained again.
    """
    with contextlib.suppress(OSError):
        (sweep / JOBS / CONFIGS).unlink(missing_ok=True)
        shutil.rmtree(sweep / JOBS, ignore_errors=True)


def write_places(sweep: Path, lanes: int, places: Mapping[int, int], *, shares: int = 1) -> None:
    """Note in which of how many lanes jobs begin, by number; they are resumed there, where rounding is the same.

    `shares` is the number of equal shares into which the lanes are divided.
    """
    known = _read_places(sweep)
    found = {**known, **{str(number): [lanes, place, shares] for number, place in places.items()}}
    (Files(sweep) / JOBS).replace_json(LANES, seal(found))


def _read_places(sweep: Path) -> dict[str, Any]:
    path = sweep / JOBS / LANES
    return read_sealed(path) if path.exists() else {}


def read_jobs(sweep: Path, amend: Amend, *, only: int | None = None) -> list[SweepJob]:
    """Read the jobs of a sweep that is not done, or one of them; `amend` checks a saved config.

    Raises:
        ConfigError: this is not the folder of a sweep, or all of its jobs have ended.
        CheckpointError: its plan is damaged.
    """
    if not sweep.is_dir():
        raise ConfigError(f"--resume {sweep}: folder not found")
    if not has_configs(sweep):
        if (sweep / "sweep.csv").exists():
            raise ConfigError(f"--resume {sweep}: all jobs of this sweep have ended; nothing is left to run")
        raise ConfigError(f"--resume {sweep}: is not the folder of a sweep that can be resumed")
    places = _read_places(sweep)
    return [
        SweepJob(
            saved["number"],
            tuple(saved["words"]),
            sweep / saved["folder"],
            saved["label"],
            replace(amend(parse_yaml(saved["config"])), choices=saved["choices"]),
            sweep,
            **dict(zip(PLACED, places.get(str(saved["number"]), ()), strict=False)),
        )
        for saved in read_sealed(sweep / JOBS / CONFIGS)["jobs"]
        if only in (None, saved["number"])
    ]


def begun(job: SweepJob) -> SweepJob:
    """Let a job that began earlier train in its lane, from its last checkpoint; without one from the beginning."""
    about = dict(zip(PLACED, _read_places(job.sweep).get(str(job.number), ()), strict=False))
    return replace(job, resumes=can_resume(job.folder), **about)


def can_resume(folder: Path) -> bool:
    """Tell whether a run has a checkpoint of its own: a copy of an earlier run that was cut short is made again."""
    names = ("folder", "checkpoint", "copied")
    folders, checkpoints, copied = (importlib.import_module(f"dltrain.runs.{name}") for name in names)
    run = folders.RunFolder(folder)
    if not (run.config.exists() and checkpoints.steps(run.checkpoints)):
        return False
    with contextlib.suppress(CheckpointError):  # damage, which the job reports when it goes on
        return run.summary.exists() or copied.KNOWN not in run.read_started()
    return True


def missing(jobs: Sequence[SweepJob], ended: Collection[int]) -> list[SweepJob]:
    """Return the jobs that have not ended, as they are to be resumed; `ended` are numbers of those that failed."""
    folders = importlib.import_module("dltrain.runs.folder")
    found = []
    for job in jobs:
        if job.number in ended or folders.RunFolder(job.folder).summary.exists():
            continue
        resumes = can_resume(job.folder)
        if not resumes:  # what it has written has no checkpoint, and is replaced
            job.composed.config["overwrite"] = True
        found.append(replace(job, resumes=resumes))
    return found
