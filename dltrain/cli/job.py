"""The jobs of a sweep: they are trained, how each ended is recorded, and its objective returned."""

import contextlib
import functools
import importlib
import json
import os
import shlex
import signal
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dltrain.cli.discovery import user_packages
from dltrain.cli.faults import as_error, report, was_interrupted
from dltrain.composition.compose import make_request
from dltrain.composition.launch import Job, SweepStopped
from dltrain.config.alike import Alike
from dltrain.config.folders import Tree, read_tree
from dltrain.errors import DiskError, Interrupted, Terminated, hide
from dltrain.runs.files import Files
from dltrain.runs.sweep_files import JOBS, LIST
from dltrain.sweep.groups import SweepJob
from dltrain.sweep.plan import begun as begin_again

REPORTING = threading.Lock()  # jobs may fail in several threads at once, with several lines each


def compose_jobs(jobs: Sequence[Job], fixed: Collection[str]) -> list[SweepJob]:
    """Compose and check the config of each job; a failure is reported and recorded."""
    composed, alike, tree = [], Alike(), functools.cache(read_tree)
    for job in jobs:
        with Files(job.sweep).append(LIST) as listed:
            listed.write(f"{os.path.relpath(job.folder, job.sweep)}\n")
        if found := _guarded(job, [*job.words], lambda job=job: _compose(job, fixed, alike, tree(job.folders))):
            composed.append(found)
    return composed


def train_all(
    jobs: Sequence[Job],
    fixed: Collection[str],
    *,
    watches: Mapping[int, Callable[[Any], Sequence[Any]] | None] | None = None,
    programs: Any = None,
    begun: Collection[int] = (),
    board: Any = None,
) -> None:
    """Compose and train a batch of jobs that a search has chosen; failures are reported and recorded.

    Args:
        jobs: the jobs.
        begun: the numbers of those that go on, from their last checkpoint if they have one.
        fixed: keys that have the same value in all jobs.
        watches: number of a job -> what makes callbacks for it besides those of its config.
        programs: `sweep.programs.Programs` of a search; the caller then draws the figures of the best job.
        board: that of the search.

    Raises:
        SweepStopped: Ctrl-C or SIGTERM ended all of them.
    """
    composed = compose_jobs(jobs, fixed)
    watched = [
        replace(begin_again(job) if job.number in begun else job, watch=(watches or {}).get(job.number))
        for job in composed
    ]
    if watched:
        train_composed(watched, programs=programs, board=board)


def train_composed(jobs: Sequence[SweepJob], *, programs: Any = None, board: Any = None) -> None:
    """Train jobs whose configs are checked, together where they can share a program.

    `programs` and `board` as for `train_all`.

    Raises:
        SweepStopped: Ctrl-C or SIGTERM ended all of them.
    """

    def guard(job: SweepJob, train: Callable[[], Any]) -> Any:
        _record(job, code=1, ended=False)  # holds if the process dies
        dry = job.composed.config["dry_run"]
        return _guarded(job, [*job.words, job.composed.text], train, ends=True, dry=dry)

    resume = shlex.join(["dltrain", "-m", "--resume", str(jobs[0].sweep)])
    make_signals = importlib.import_module("dltrain.callbacks.signals").Signals
    signals = make_signals(f"; what was saved is continued by: {resume}")
    importlib.import_module("dltrain.sweep.train").train_jobs(jobs, guard, signals, programs=programs, board=board)
    if signals.received:  # between two jobs
        raise SweepStopped(Interrupted.code if signals.received == signal.SIGINT else Terminated.code)


def _compose(job: Job, fixed: Collection[str], alike: Alike, tree: Tree) -> SweepJob:
    composed = alike.compose(make_request("train", job.words, job.folders, tree))
    label = " ".join(word for word in job.words if word.partition("=")[0] not in fixed)
    return SweepJob(job.number, tuple(job.words), job.folder, label, composed, job.sweep)


def _guarded(
    job: Job | SweepJob, texts: Sequence[str], do: Callable[[], Any], *, ends: bool = False, dry: bool = False
) -> Any:
    """Call `do`; a failure is reported and recorded, and returns None.

    `ends` tells that the job has ended after it, `dry` that it was only to be checked.

    Raises:
        SweepStopped: a signal has stopped it.
    """
    try:
        found = do()
    except (Interrupted, Terminated) as stopped:
        _record(job, code=stopped.code)
        raise SweepStopped(stopped.code) from stopped  # the sweep says how to go on, once for all its jobs
    except (KeyboardInterrupt, Exception) as raised:
        if was_interrupted(raised):
            _record(job, code=130)
            raise SweepStopped(130) from None
        error = as_error(raised, user_packages(job.words))
        _record(job, code=error.code, dry=dry, reason=hide(str(error), texts).partition("\n")[0])
        if not dry:
            _save_failure(job.folder, hide(str(error), texts))
        with REPORTING:
            report(error, f"job {job.number}: ", texts)
        return None
    if ends:
        _record(job, code=0, dry=dry)
    return found


def _record(job: Job | SweepJob, *, code: int, dry: bool = False, ended: bool = True, reason: str = "") -> None:
    """Record the folder of this job, how it ended and why, and whether it only was to be checked."""
    about = {"number": job.number, "folder": str(job.folder)}
    note = json.dumps({**about, "code": code, "dry": dry, "ended": ended, "reason": reason})
    (Files(job.sweep) / JOBS).replace_text(f"{job.number}.json", note)


def settle(jobs: Sequence[SweepJob]) -> None:
    """Record that jobs have ended whose process died after their summary was written, and before their note was."""
    make = importlib.import_module("dltrain.runs.folder").RunFolder
    for job in jobs:
        if find_note(job).get("code", 1) and make(job.folder).summary.exists():
            _record(job, code=0)


def read_note(job: Job | SweepJob) -> dict[str, Any]:
    """Read how a job ended."""
    return json.loads((job.sweep / JOBS / f"{job.number}.json").read_text(encoding="utf-8"))


def find_note(job: Job | SweepJob) -> dict[str, Any]:
    """Read how a job ended; empty if it never began."""
    try:
        return read_note(job)
    except (OSError, ValueError):  # killed before the note was written
        return {}


def note_death(job: Job, reason: str) -> None:
    """Record that the process of a job died, and why, in its notes and in its folder."""
    _record(job, code=1, reason=reason)
    _save_failure(job.folder, reason)
    run = importlib.import_module("dltrain.runs.folder").RunFolder(job.folder)
    if run.config.exists():
        with contextlib.suppress(OSError, DiskError), run.files.append(run.log.name) as log:
            log.write(f"ProcessError: {reason}\n")


def _save_failure(folder: Path, message: str) -> None:
    """Save the error of a job that never became a run, for the sweep's table, which another process may print."""
    run = importlib.import_module("dltrain.runs.folder").RunFolder(folder)
    if folder.is_dir() and not run.config.exists():
        with contextlib.suppress(OSError, DiskError):
            run.files.replace_text(run.failure.name, f"{(message.splitlines() or [''])[0]}\n")
