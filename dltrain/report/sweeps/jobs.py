"""The jobs of a sweep, as their folders describe them."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dltrain.config.changes import read_saved
from dltrain.config.constraints import Constraint, read_constraints, violated
from dltrain.errors import DltrainError
from dltrain.runs.copied import KNOWN
from dltrain.runs.folder import RunFolder
from dltrain.runs.summary import monitored
from dltrain.runs.sweep_files import JOBS, LIST, STOPPED

RAISED = re.compile(r"^[\w.]*?(\w*(?:Error|Exception|Interrupt|Interrupted|Terminated)): (.+)", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """One run of a sweep, finished or failed."""

    folder: Path
    name: str  # the folder's, inside that of the sweep
    overrides: tuple[str, ...]
    summary: Mapping[str, Any]  # empty if it failed
    choices: Mapping[str, str] = field(default_factory=dict)  # group -> choice
    failure: str = ""  # the error message, if it failed before it had a run folder
    interrupted: bool = False  # stopped by a signal, and can be resumed
    violated: tuple[str, ...] = ()  # the sweep.constraints that it does not satisfy
    known: str = ""  # the run of an earlier sweep that it was copied from, instead of being trained

    @property
    def failed(self) -> bool:
        """Whether it ended without results, by itself."""
        return not self.summary and not self.interrupted

    @property
    def monitor(self) -> str:
        """What it monitored, as split/name; "" if nothing."""
        return self.summary.get("monitor") or ""

    @property
    def score(self) -> float | None:
        """The monitored metric at the best step; None without one."""
        return monitored(self.summary)

    @property
    def test(self) -> float | None:
        """The same metric on the test split."""
        return self.summary.get("best", {}).get("test", {}).get(self.monitor.partition("/")[2])

    def value(self, objective: str) -> float | None:
        """Return an objective of the sweep: a metric as split/name at the best step, or a number of the summary."""
        split, slash, name = objective.partition("/")
        found = self.summary.get("best", {}).get(split, {}).get(name) if slash else self.summary.get(objective)
        return float(found) if isinstance(found, int | float) and math.isfinite(found) else None

    @property
    def reason(self) -> str:
        """Why it failed, in one line: what kept it from starting, or the last error in its log."""
        if self.failure:
            return self.failure
        try:
            log = RunFolder(self.folder).log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "it has no results and no log"
        found = RAISED.findall(log)
        return found[-1][1] if found else "it has no results, and its log names no error"


def read_job(path: Path, name: str) -> Job:
    """Read a job from its folder; one that cannot be read has failed."""
    run, overrides = RunFolder(path), ()
    if run.failure.is_file():
        text = run.failure.read_text(encoding="utf-8", errors="replace").strip()
        return Job(path, name, (), {}, failure=text)
    try:
        started = run.read_started()
        overrides = tuple(started.get("overrides", ()))
        known = started.get(KNOWN, "")
        return Job(path, name, overrides, run.read_summary(), started.get("choices", {}), known=known)
    except DltrainError as error:
        return Job(path, name, overrides, {}, failure=str(error))


def constrained(jobs: Sequence[Job]) -> list[Job]:
    """Mark the jobs that do not satisfy the `sweep.constraints` of their config."""
    constraints = next((found for job in jobs if job.summary and (found := _constraints(job)) is not None), ())
    if not constraints:
        return list(jobs)
    return [
        replace(job, violated=tuple(violated(constraints, job.summary))) if job.summary else job for job in jobs
    ]


def _constraints(job: Job) -> tuple[Constraint, ...] | None:
    """Read the constraints of a job; None if its config cannot be read."""
    try:
        config = read_saved(RunFolder(job.folder).config)
        return read_constraints((config.get("sweep") or {}).get("constraints") or [])
    except DltrainError:
        return None


def is_sweep(folder: Path) -> bool:
    """Tell whether this is the folder of a sweep."""
    return not (folder / "config.yaml").exists() and ((folder / LIST).is_file() or bool(_numbered(folder)))


def job_folders(folder: Path) -> list[Path]:
    """Return the folders of the jobs in the order they began: the listed ones, else all that look like one."""
    try:
        names = (folder / LIST).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return _numbered(folder)
    listed = dict.fromkeys(folder / name for name in names if name)
    return [path for path in listed if path.is_dir() and folder.resolve() in path.resolve().parents]


def stopped_jobs(folder: Path) -> set[Path]:
    """Return the folders of jobs that a signal has ended, of a sweep that can be resumed."""
    found = set()
    for path in sorted((folder / JOBS).glob("*.json")):
        try:
            note = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(note, Mapping) and note.get("code") in STOPPED:
            found.add(Path(str(note.get("folder"))))
    return found


def known_note(jobs: Sequence[Job]) -> str:
    """Say how many jobs were copied from earlier sweeps, and from which; "" if all were trained."""
    places = list(dict.fromkeys(str(Path(job.known).parent) for job in jobs if job.known))
    if not places:
        return ""
    count, more = sum(bool(job.known) for job in jobs), f" and {len(places) - 1} more" * (len(places) > 1)
    return (
        f"{count} of {len(jobs)} runs: copied from {places[0]}{more}, since config, data and versions are equal; "
        "sweep.repeat=true trains them again"
    )


def scored(jobs: Sequence[Job], monitor: str) -> list[Job]:
    """Return the jobs that have a finite value of this monitored metric."""
    return [job for job in jobs if job.monitor == monitor and job.score is not None and math.isfinite(job.score)]


def _numbered(folder: Path) -> list[Path]:
    """List the folders that hold a run, or say why there is none, by number."""
    inside = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    jobs = [path for path in inside if (path / "config.yaml").is_file() or (path / "failure.txt").is_file()]
    return sorted(jobs, key=lambda path: (len(path.name), path.name))
