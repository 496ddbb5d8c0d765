"""Jobs that share a program, while they train: as its lanes, or one after the other."""

import contextlib
import functools
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dltrain.build.program import Program
from dltrain.callbacks.signals import Signals
from dltrain.lanes.meeting import Lane, Meeting
from dltrain.plots import artist
from dltrain.report.console import Screen
from dltrain.report.finish import Finished, try_to_compare
from dltrain.report.sweeps.board import Board, line_of, metric_of
from dltrain.report.width import for_terminal
from dltrain.runs.arrays import import_orbax
from dltrain.runs.folder import RunFolder
from dltrain.sweep.best import Best
from dltrain.sweep.folds import Group
from dltrain.sweep.groups import SweepJob
from dltrain.sweep.measure import Choice, divide_lanes
from dltrain.sweep.plan import write_places
from dltrain.training import EndedRun, Prepared, continue_job, prepare_like, prepare_run, start_run

Guard = Callable[[SweepJob, Callable[[], EndedRun | None]], EndedRun | None]
"""Trains a job, and records how it ended; a failure is reported, and returns None."""


def start_job(job: SweepJob, prepared: Prepared, screen: Screen, **how: Any) -> EndedRun:
    """Train a job from its last checkpoint, or from the beginning; `how` as for `start_run`."""
    if job.population:
        how["exchange"] = job.population.member(job.number, prepared, how["signals"])
        if job.resumes:
            return continue_job(prepared, screen, step=job.population.resumed_at(job.number), **how)
    if job.resumes:
        return continue_job(prepared, screen, watch=job.watch, **how)
    return start_run(prepared, screen, overrides=job.words, label=job.label, watch=job.watch, **how)


@dataclass(frozen=True)
class _Seat:
    """Where a thread trains one job after the other."""

    number: int  # of the lane, among all of the sweep
    program: Program
    meeting: Meeting
    place: int  # in the meeting


class Ends:
    """What is known of jobs that train as lanes while they end."""

    def __init__(self, jobs: Sequence[SweepJob], best: Best) -> None:
        """Wait for these jobs; `best` is the best one of those before."""
        self.best = best.fork()  # when all have ended
        self._changed = threading.Condition()
        self._training = {job.number for job in jobs}
        self._complete = True

    def foresee(self, job: SweepJob, finished: Finished | None) -> None:
        """A job has trained; these are its results if they are known before it has written them."""
        if finished:
            self.best.consider(job, finished)
        else:
            self._complete = False
        self.leave(job)

    def leave(self, job: SweepJob) -> None:
        """Wait for this job no longer."""
        with self._changed:
            self._training.discard(job.number)
            self._changed.notify_all()

    def stop(self) -> None:
        """Wait for no job any more: some will not be trained."""
        with self._changed:
            self._training.clear()
            self._complete = False
            self._changed.notify_all()

    def wait(self, left: int) -> bool:
        """Wait until no more than `left` jobs train; tell whether all results are known."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._training) <= left)
            return self._complete


@dataclass
class Together:
    """Jobs that share a program, while they train."""

    prepared: Prepared
    choice: Choice
    guard: Guard
    signals: Signals
    best: Best
    board: Board
    measured: bool = True  # whether lanes were tried
    compared: dict[str, Any] | None = None  # metrics of the baselines; each fold has its own
    printing: threading.Lock = field(default_factory=threading.Lock)
    stopped: list[BaseException] = field(default_factory=list)
    plain: Prepared | None = None  # without lanes: the program of the numbers in which lanes would differ
    constant: Mapping[str, Any] | None = None  # these numbers
    folds: Group = field(default_factory=lambda: Group([]))  # that these jobs train, if they differ in it
    ends: Ends | None = None  # with which the best job is known, and drawn, before all have ended

    def train(self, jobs: Sequence[SweepJob]) -> None:
        """Train all jobs, in as many threads as there are lanes."""
        lanes = self.choice.lanes if len(jobs) > 1 or jobs[0].lanes else 1  # as it began
        self.prepare_ends(jobs[0].folder)
        waiting = deque(jobs)
        with self.signals.caught(), self.board.shown():
            if lanes == 1:
                self.ends = None  # the last job ends when all others have ended
                write_places(jobs[0].sweep, 1, {job.number: 0 for job in jobs})
                self._work(self._by_numbers(jobs), None)
            else:
                self._train_lanes(waiting, lanes)
        if self.stopped:
            raise self.stopped[0]

    def prepare_ends(self, folder: Path) -> None:
        """Do once what all jobs need at their ends; `folder`, of one of them, is where a fault is noted."""
        import_orbax()
        if not self.folds.folds and self.compared is None:
            self.compared = try_to_compare(self.prepared.program, RunFolder(folder))

    def _by_numbers(self, jobs: Sequence[SweepJob]) -> deque[SweepJob]:
        """Let jobs with the same numbers follow one another: one after the other, these share a program."""
        alike: dict[tuple[Any, ...], list[SweepJob]] = {}
        for job in jobs:
            alike.setdefault(tuple(self._numbers(job).values()), []).append(job)
        return deque(job for some in alike.values() for job in some)

    def _numbers(self, job: SweepJob) -> Mapping[str, Any]:
        """Return the numbers of a job that are constants of a program where there are no lanes."""
        program = self.prepared.program
        return program.differences.numbers(program.parts, job.composed.config)

    def _train_lanes(self, waiting: deque[SweepJob], lanes: int) -> None:
        programs = divide_lanes(self.prepared.program, self.choice.shares)
        each = lanes // len(programs)
        meetings = [
            Meeting(own.lane_chunk, own.data, each, steps=self.choice.steps, device=own.device) for own in programs
        ]
        own = self._places(waiting, lanes)
        threads = []
        for number in range(lanes):
            seat = _Seat(number, programs[number // each], meetings[number // each], number % each)
            about = (waiting, seat, own[number])
            threads.append(threading.Thread(target=self._work, args=about, name=f"lane {number}"))
        for thread in threads:
            thread.start()
        try:
            self._draw_ahead(lanes)
        finally:
            for thread in threads:
                thread.join()

    def _draw_ahead(self, lanes: int) -> None:
        """Draw the figures of the best job in a process of its own, while the jobs write their results."""
        if not self.ends:
            return
        self.ends.wait(lanes)  # those that train are the last ones
        if not self.signals.received:
            artist.start()
        if self.ends.wait(0):
            self.ends.best.draw()

    def _places(self, waiting: deque[SweepJob], lanes: int) -> list[deque[SweepJob]]:
        """Take the jobs that begin now out of `waiting`, one per lane: in their earlier places, then in order."""
        sweep = waiting[0].sweep
        own: list[deque[SweepJob]] = [deque() for _ in range(lanes)]
        for job in list(waiting):
            if job.place is not None and job.place < lanes:
                own[job.place].append(job)
                waiting.remove(job)
        for queue in own:
            if waiting and not queue:
                queue.append(waiting.popleft())
        begun = {job.number: place for place, queue in enumerate(own) for job in queue}
        write_places(sweep, lanes, begun, shares=self.choice.shares)
        return own

    def _take(self, waiting: deque[SweepJob], place: int) -> SweepJob:
        """Take the next job into this lane."""
        job = waiting.popleft()
        if self.choice.lanes > 1:
            with self.printing:
                write_places(job.sweep, self.choice.lanes, {job.number: place}, shares=self.choice.shares)
        return job

    def _work(self, waiting: deque[SweepJob], seat: "_Seat | None", own: deque[SweepJob] | None = None) -> None:
        """Train one job after the other, as the same lane: its own first, then those that no lane has taken."""
        while not self.signals.received:
            try:
                job = own.popleft() if own else self._take(waiting, seat.number if seat else 0)
            except IndexError:
                break
            lane = seat.meeting.lane(seat.place) if seat else None
            try:
                with contextlib.ExitStack() as leaving:
                    if lane:
                        leaving.callback(lane.close)
                        leaving.enter_context(lane.on_device())
                    if job.population:
                        leaving.callback(job.population.leave, job.number)
                    follow = leaving.enter_context(self.board.job(job.number, job.label))
                    if self.ends:
                        leaving.callback(self.ends.leave, job)
                    ended = self.guard(job, lambda job=job, lane=lane: self._train_one(job, seat, lane))
                    follow(ended.finished.summary if ended else None)
            except BaseException as stopped:  # raised again in the main thread
                self.stopped.append(stopped)
                break
            if ended:
                self._print(job, ended)
                if self.best.consider(job, ended.finished):
                    self.board.lead(job.number, job.label, metric_of(ended.finished.summary))
        if seat:
            seat.meeting.leave(seat.place)
        if self.ends and (self.signals.received or self.stopped):
            self.ends.stop()

    def _train_one(self, job: SweepJob, seat: "_Seat | None", lane: Lane | None) -> EndedRun:
        prepared = self._prepare(job, seat, lane)
        how: dict[str, Any] = {"signals": self.signals, "figures": False, "compared": self.compared}
        if self.ends:
            how["foreseen"] = functools.partial(self.ends.foresee, job)
        job = replace(job, watch=self.board.watching(job.number, job.watch))
        return start_job(job, prepared, Screen(silent=True), **how)

    def _prepare(self, job: SweepJob, seat: "_Seat | None", lane: Lane | None) -> Prepared:
        fold = self.folds.of(job)
        if seat or not self.prepared.program.differences.keys:
            program = seat.program if seat else self.prepared.program
            like = replace(self.prepared, program=program)
            return prepare_like(like, job.composed, folder=job.folder, lane=lane, fold=fold)
        # Alone, its numbers are constants of a program, which the next jobs with the same ones share.
        numbers = self._numbers(job)
        if numbers != self.constant:
            self.constant = numbers
            about: dict[str, Any] = {"folder": job.folder, "resumes": job.resumes, "shared": self.folds.shared}
            self.plain = prepare_run(job.composed, Screen(silent=True), **about)
        assert self.plain
        return prepare_like(self.plain, job.composed, folder=job.folder, fold=fold)

    def _print(self, job: SweepJob, ended: EndedRun) -> None:
        with self.printing:
            print(
                for_terminal(line_of(job.number, job.label or " ".join(job.words), ended.finished.summary)),
                flush=True,
            )
