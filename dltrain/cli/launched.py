"""Jobs of a sweep in processes that one of Hydra's launchers starts: what each does, and what is done if they end.

A job may be started twice (Ray repeats one whose process died, SLURM requeues), and a process may outlive the sweep
that started it. So a process holds its job while it trains, and goes on from where another one was.
"""

import contextlib
import functools
import importlib
import math
import os
import sys
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from dltrain.cli.job import compose_jobs, find_note, settle, train_composed
from dltrain.cli.output import outlive_readers
from dltrain.composition import objective
from dltrain.composition.compose import amend_words
from dltrain.composition.launch import Job, Objectives, SweepStopped, launch
from dltrain.composition.settings import Settings, hydra_words, logging_words
from dltrain.config.request import Override
from dltrain.errors import DltrainError, LockedError, WorkerError
from dltrain.machine import cores
from dltrain.runs.sweep_files import JOBS, STOPPED
from dltrain.sweep.assignment import assign, at_a_time, devices_for, take_place, threads_each, visible_devices
from dltrain.sweep.groups import SweepJob
from dltrain.sweep.needs import Need, at_once, describe_need, read_need, write_need
from dltrain.sweep.plan import has_configs, missing, read_jobs

T = TypeVar("T")

PLACES: list[Any] = []
"""What keeps the accelerator of this process until it ends: it trains several jobs, and jax starts once."""


def run_job(objectives: Sequence[str], fixed: Collection[str], processes: int, job: Job) -> Objectives:
    """Train one combination of a sweep in a process of its own, and return its objectives; NaN if it failed.

    `fixed` are the keys that have the same value in all jobs, `processes` how many share the accelerators of this
    machine. The config is that of the plan, if there is one: a sampler decides on a job when it starts.
    """
    outlive_readers()  # of a process that a launcher has started
    take_device(processes, job.sweep)
    if has_configs(job.sweep):
        train_planned(job)
    elif composed := compose_jobs([job], fixed):
        train_composed(composed)
        note_need(job)
    note = find_note(job)
    if note.get("code", 1) or note["dry"]:
        return objective.failed(objectives)
    run = importlib.import_module("dltrain.runs.folder").RunFolder(job.folder)
    return objective.values(run.read_summary(), objectives)


def run_missing(numbers: Sequence[int], words: Sequence[str], processes: int, job: Job) -> float:
    """Train one of the jobs that are missing, by its place among them, in a process of its own."""
    outlive_readers()
    take_device(processes, job.sweep)
    train_planned(replace(job, number=numbers[job.number], words=tuple(words)))
    return math.nan


def divide(settings: Settings, config: Mapping[str, Any], *, jobs: int) -> tuple[str, int]:
    """Divide this machine among the processes of a launcher, and say how.

    Returns:
        The words to add to every job ("" for none), and the number of processes at a time (0: not known).
    """
    chosen, runtime = settings.chosen["hydra/launcher"], config["runtime"]
    processes = at_a_time(chosen, settings.launcher, jobs=jobs, cores=cores())
    if chosen == "ray":
        given = (settings.launcher.get("ray") or {}).get("remote") or {}
        each = max(1, int(given.get("num_cpus") or 1))
    else:
        each = threads_each(cores(), processes or 1)
    if processes is None and chosen != "ray":  # SLURM gives each job its cores
        return "", 0
    devices = devices_for(runtime["platform"], os.environ)
    if devices:
        if processes:
            print(f"dltrain: GPUs for {processes} processes at a time: {len(devices)}", file=sys.stderr)
        return "", processes or 0
    if runtime["threads"] is not None or each >= cores():
        return "", 0
    print(f"dltrain: runtime.threads={each} in each process: this machine has {cores()} cores", file=sys.stderr)
    return f"runtime.threads={each}", 0


def launch_jobs(
    words: Sequence[str], sweep: Path, folders: tuple[Path, ...], *, launcher: str, train: functools.partial
) -> None:
    """Let a launcher start a process for each job.

    Raises:
        SweepStopped: the launcher gave up, because a process died; what it says is printed.
    """
    spare = os.dup(2)
    try:
        launch(words, sweep, folders, train=train)
    except DltrainError:
        raise
    except Exception as error:  # each launcher has exceptions of its own
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = f"hydra/launcher={launcher}: a process that trained a job has ended: {said}"
        raise SweepStopped(WorkerError.code, reason) from error
    finally:
        if sys.stderr.closed:  # with submitit, after a job of it has died
            os.dup2(spare, 2)
            sys.stderr = open(2, "w", closefd=False)
        os.close(spare)


def words_for_launcher(
    settings: Settings, typed: Sequence[Override], experiments: Sequence[Override] = (), *, params: bool = False
) -> list[str]:
    """Return the words that choose a launcher for jobs whose own words Hydra does not get.

    Args:
        settings: what they lead to.
        typed: the words for Hydra itself.
        experiments: the experiment, which may choose a launcher.
        params: whether its file has parameters of a sweeper, which the jobs have already.
    """
    chosen = [o.typed for o in experiments if o.value is not None]
    words = [*chosen, *hydra_words(typed), *logging_words(settings, typed)]
    return [*words, "++hydra.sweeper.params=null"] if params else words


def relaunch(
    left: Sequence[SweepJob],
    sweep: Path,
    folders: tuple[Path, ...],
    *,
    settings: Settings,
    given: Sequence[str],
    words: Sequence[str],
) -> None:
    """Let a launcher start a process for each of these jobs, whose configs are saved.

    `given` are the words that choose the launcher, `words` those that trust packages.
    """
    processes = divide(settings, left[0].composed.config, jobs=len(left))[1]
    for jobs, now in in_steps(left, processes, sweep, launcher=settings.chosen["hydra/launcher"]):
        train = functools.partial(run_missing, [job.number for job in jobs], tuple(words), now)
        launch_places(given, len(jobs), sweep, folders, settings=settings, train=train, processes=now)


def launch_places(
    given: Sequence[str],
    count: int,
    sweep: Path,
    folders: tuple[Path, ...],
    *,
    settings: Settings,
    train: functools.partial,
    processes: int,
) -> None:
    """Let a launcher start `count` processes, each of which finds its job by its place among them.

    `processes` is how many joblib starts at a time if they share GPUs; 0: as many as its settings say.
    """
    launcher = settings.chosen["hydra/launcher"]
    places = [f"seed=range(0,{count})", f"hydra.sweep.subdir={JOBS}/again/${{hydra.job.num}}"]
    width = [f"hydra.launcher.n_jobs={processes}"] if processes and launcher == "joblib" else []
    launch_jobs([*given, *places, *width], sweep, folders, launcher=launcher, train=train)


def in_steps(
    jobs: Sequence[T], processes: int, sweep: Path, *, launcher: str
) -> Generator[tuple[Sequence[T], int]]:
    """Divide jobs into those that a launcher starts together, each time with the number of processes.

    Where more processes of joblib than there are GPUs are wanted, the first jobs are one for each GPU, unless it is
    known what a job needs; then as many run at a time as fit. Other launchers start all processes at once.
    """
    devices = visible_devices(os.environ) if processes else []
    if launcher != "joblib" or processes <= len(devices):
        yield jobs, processes
        return
    first = at_once(processes, devices, sweep) if read_need(sweep) is None else 0
    if 0 < first < len(jobs):
        yield jobs[:first], first
        jobs = jobs[first:]
    now = at_once(processes, devices, sweep, ended=True)
    if need := read_need(sweep):
        print(f"dltrain: {describe_need(need, now, len(devices))}", file=sys.stderr)
    yield jobs, now


@contextlib.contextmanager
def holding(sweep: Path, numbers: Collection[int]) -> Generator[None]:
    """Let no other process train these jobs meanwhile.

    Raises:
        LockedError: one that an earlier start of the sweep has left behind still does.
    """
    folder = importlib.import_module("dltrain.runs.folder").RunFolder
    with contextlib.ExitStack() as held:
        for number in numbers:
            place = folder(sweep / JOBS / f"held-{number}")
            place.files.make()
            try:
                place.lock()
            except LockedError as error:
                raise LockedError(
                    f"job {number} of {sweep} is still trained by a process that an earlier start of the sweep has "
                    "left behind; wait for it, or end it, and type the same again"
                ) from error
            held.callback(place.release)
        yield


def take_device(processes: int, sweep: Path) -> None:
    """Choose the accelerator of this process, before jax starts, where `processes` share them."""
    devices = visible_devices(os.environ) if processes and not PLACES else []
    if devices:
        PLACES.append(take_place(assign(processes, devices), sweep / JOBS, os.environ))


def note_need(job: Job) -> None:
    """Note what a job has needed of the memory of its device, where processes share devices."""
    if PLACES and (used := importlib.import_module("dltrain.devices.memory").device_use()):
        write_need(job.sweep, job.number, Need(*used))


def train_planned(job: Job, **how: Any) -> None:
    """Train a job of the plan, or go on with it, unless it has ended or another process trains it.

    `how` is what makes callbacks for it (`watch`), and as for `train_composed`.
    """
    trust = [word for word in job.words if word.startswith("trust=")]
    note, watch = find_note(job), how.pop("watch", None)
    ended = note.get("ended") and note["code"] and note["code"] not in STOPPED
    with contextlib.suppress(LockedError), holding(job.sweep, [job.number]):
        planned = read_jobs(job.sweep, lambda saved: amend_words(saved, *trust), only=job.number)
        settle(planned)
        if left := missing(planned, [job.number] if ended else []):
            train_composed([replace(one, watch=watch) for one in left], **how)
            note_need(job)
