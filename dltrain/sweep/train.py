"""Trains the jobs of a sweep: as lanes of one program where that is faster, else one after the other."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dltrain.build.parts import Parts
from dltrain.build.varied import Varied
from dltrain.callbacks.signals import Signals
from dltrain.report.console import Screen
from dltrain.report.sweeps.board import Board, line_of, metric_of
from dltrain.report.width import for_terminal
from dltrain.sweep.best import Best
from dltrain.sweep.folds import Group, divide_by_fold, read_alike
from dltrain.sweep.groups import SweepJob, group_jobs, varied_of
from dltrain.sweep.known import Known, take
from dltrain.sweep.measure import Choice, choose_lanes
from dltrain.sweep.programs import Programs
from dltrain.sweep.together import Ends, Guard, Together, start_job
from dltrain.training import EndedRun, Prepared, prepare_run


def train_jobs(
    jobs: Sequence[SweepJob],
    guard: Guard,
    signals: Signals,
    *,
    programs: Programs | None = None,
    board: Board | None = None,
) -> None:
    """Train all jobs, those that share a program together, and draw the figures of the best one.

    What an earlier sweep has trained is copied instead.

    Args:
        jobs: the jobs.
        guard: is called for each job, in any thread; it reports a failure, which ends no other job.
        signals: end all of them.
        programs: of earlier jobs, for these and for later ones; then the caller draws the figures.
        board: that of a search; a grid has one of its own.
    """
    config = jobs[0].composed.config
    board = board or Board(len(jobs), quiet=config["quiet"] or config["dry_run"])
    best = programs.best if programs else Best()
    jobs = _take_known(jobs, programs.known if programs else Known(), guard, signals, best, board)
    left = len(jobs)
    for some in group_jobs(jobs):
        for group in divide_by_fold(some, programs.read_alike if programs else read_alike):
            if signals.received:
                return
            first, left = group.jobs[0], left - len(group.jobs)
            alone = len(group.jobs) == 1 and not programs and (first.lanes or 1) == 1
            if alone and not first.population:
                board.say()
                with board.job(first.number, first.label) as follow:
                    ended = guard(first, lambda group=group: _train_alone(group.jobs[0], group.shared))
                    follow(ended.finished.summary if ended else None)
                if ended and best.consider(first, ended.finished, drawn=True):
                    board.lead(first.number, first.label, metric_of(ended.finished.summary))
            else:
                ahead = not left and not programs
                _train_group(group, guard, signals, best, programs=programs, board=board, ahead=ahead)
    if not programs:
        best.draw()


def _take_known(
    jobs: Sequence[SweepJob], known: Known, guard: Guard, signals: Signals, best: Best, board: Board
) -> list[SweepJob]:
    """Take the results of jobs that an earlier sweep has trained; return the other jobs."""
    found = known.find(jobs)
    left = []
    for job in jobs:
        run = None if signals.received else found.get(job.number)
        if not (run and (ended := take(job, run))):
            left.append(job)
            continue
        with board.job(job.number, job.label) as follow:
            guard(job, lambda ended=ended: ended)
            follow(ended.finished.summary, known=True)
        line = line_of(job.number, job.label or " ".join(job.words), ended.finished.summary, known=str(run.path))
        print(for_terminal(line), flush=True)
        if best.consider(job, ended.finished, drawn=True):
            board.lead(job.number, job.label, metric_of(ended.finished.summary))
    return left


def _train_alone(job: SweepJob, shared: Parts | None = None) -> EndedRun | None:
    """Train a job as a run like any other; `shared` are the parts of its fold, if others may have its program."""
    print(for_terminal(f"\njob {job.number}: {' '.join(job.words)}"), flush=True)
    screen = Screen(quiet=job.composed.config["quiet"])
    prepared = prepare_run(job.composed, screen, folder=job.folder, resumes=job.resumes, shared=shared)
    if job.composed.config["dry_run"]:
        return None
    return start_job(job, prepared, screen)


def _train_group(
    together: Group,
    guard: Guard,
    signals: Signals,
    best: Best,
    *,
    programs: Programs | None,
    board: Board,
    ahead: bool = False,
) -> None:
    """Train jobs that share a program; if it cannot be prepared, each of them says why.

    These may be the last ones of the sweep: `ahead`, the figures of the best job are drawn while they end.
    """
    jobs = together.jobs
    seen = programs is not None and programs.begun
    screen = Screen(quiet=jobs[0].composed.config["quiet"] or seen)
    if jobs[0].composed.config["dry_run"]:
        for job in jobs:
            guard(job, lambda job=job: _train_alone(job))
        return
    known = programs.find(together) if programs else None
    if known and (known.choice.lanes > 1 or known.measured or len(jobs) == 1):
        known.guard, known.signals, known.board = guard, signals, board
        known.train(jobs)
        return
    if len(jobs) > 1:
        numbers = ", ".join(str(job.number) for job in jobs)
        print(for_terminal(f"\njobs {numbers}: {len(jobs)} runs of one program"), flush=True)
    try:
        about: dict[str, Any] = {"folder": jobs[0].folder, "resumes": jobs[0].resumes, "shared": together.shared}
        prepared = _with_varied(prepare_run(jobs[0].composed, screen, **about), jobs[0])
    except Exception:
        if jobs[0].population:
            raise
        for job in jobs:
            guard(job, lambda job=job: _train_alone(job))
        return
    first = next((job for job in jobs if job.lanes), jobs[0])
    began: dict[str, Any] = {"begun": first.lanes, "shares": first.shares}
    choice = Choice(1, 0, "one job")
    about: dict[str, Any] = {"measured": len(jobs) > 1, "folds": together}
    group = Together(
        prepared, choice, guard, signals, best, board, **about, ends=Ends(jobs, best) if ahead else None
    )
    if jobs[0].population:
        group.choice = choice = jobs[0].population.choose_lanes(prepared.program, jobs, **began)
        screen.say(f"lanes   {choice.lanes}: {choice.why}")
    elif len(jobs) > 1 or first.lanes:
        began["meanwhile"] = functools.partial(group.prepare_ends, jobs[0].folder)
        group.choice = choice = choose_lanes(prepared.program, jobs=len(jobs), **began)
        apart = ": a program for each of these numbers" if prepared.program.differences.keys else ""
        screen.say(f"lanes   {choice.lanes if choice.lanes > 1 else f'none{apart}'}: {choice.why}")
    if programs:
        programs.keep(together, group)
    group.train(jobs)


def _with_varied(prepared: Prepared, job: SweepJob) -> Prepared:
    """Let the lanes of a program differ in the numbers in which the jobs of the sweep do."""
    if not (keys := varied_of(job)):
        return prepared
    varied = Varied(prepared.composed.config, prepared.composed.trust, keys)
    return replace(prepared, program=prepared.program.varying(varied))
