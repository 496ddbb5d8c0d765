"""One job of a sweep: trains, records how the job ended, and returns its objective."""

import contextlib
import importlib
import json
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from dltrain.cli.discovery import user_packages
from dltrain.cli.faults import as_error, report, was_interrupted
from dltrain.cli.output import outlive_readers
from dltrain.composition import objective
from dltrain.composition.compose import make_call, make_request
from dltrain.composition.launch import Job, Objectives, SweepStopped
from dltrain.config.folders import read_tree
from dltrain.errors import DiskError, DltrainError, Interrupted, Terminated, hide
from dltrain.report.width import for_terminal
from dltrain.runs.files import Files

JOBS = ".jobs"  # in the folder of a sweep while it runs: a file per job, since jobs may run in other processes
LIST = "jobs.txt"  # in the folder of a sweep: the folder of each job, which overwrite=true may replace


def run_job(objectives: Sequence[str], fixed: Collection[str], job: Job) -> Objectives:
    """Train one combination of a sweep and return its objectives; a failure is reported, and returns NaN.

    `fixed` are the keys that have the same value in all jobs.
    """
    outlive_readers()  # of a process that a launcher has started
    texts = list(job.words)
    with Files(job.sweep).append(LIST) as listed:
        listed.write(f"{os.path.relpath(job.folder, job.sweep)}\n")
    _record(job, code=1)  # holds if the process dies
    print(for_terminal(f"\njob {job.number}: {' '.join(job.words)}"), flush=True)
    dry = False
    try:
        call = make_call(make_request("train", job.words, job.folders, read_tree(job.folders)), texts=texts)
        dry = call.compose().config["dry_run"]
        train = importlib.import_module("dltrain.commands.train")
        label = " ".join(word for word in job.words if word.partition("=")[0] not in fixed)
        code = train.run(replace(call, folder=job.folder, job=job.number, label=label))
        error = DltrainError(f"training ended with code {code}") if code else None
        if error is not None:
            error.code = code
    except (Interrupted, Terminated) as stopped:
        _record(job, code=stopped.code)
        raise SweepStopped(report(stopped, texts=texts)) from stopped
    except (KeyboardInterrupt, Exception) as raised:
        if was_interrupted(raised):
            _record(job, code=130)
            raise SweepStopped(130) from None
        error = as_error(raised, user_packages(job.words))
    if error is None:
        _record(job, code=0, dry=dry)
        run = importlib.import_module("dltrain.runs.folder").RunFolder(job.folder)
        return objective.values(run.read_summary(), objectives)
    _record(job, code=error.code, dry=dry)
    if not dry:
        _save_failure(job.folder, hide(str(error), texts))
    report(error, f"job {job.number}: ", texts)
    return objective.failed(objectives)


def _record(job: Job, *, code: int, dry: bool = False) -> None:
    """Record the folder of this job, how it ended, and whether it only was to be checked."""
    note = json.dumps({"folder": str(job.folder), "code": code, "dry": dry})
    (Files(job.sweep) / JOBS).replace_text(f"{job.number}.json", note)


def _save_failure(folder: Path, message: str) -> None:
    """Save the error of a job that never became a run, for the sweep's table, which another process may print."""
    run = importlib.import_module("dltrain.runs.folder").RunFolder(folder)
    if folder.is_dir() and not run.config.exists():
        with contextlib.suppress(OSError, DiskError):
            run.files.replace_text(run.failure.name, f"{(message.splitlines() or [''])[0]}\n")
