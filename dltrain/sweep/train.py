"""Trains the jobs of a sweep: as lanes of one program where that is faster, else one after the other."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dltrain.build.parts import Parts
from dltrain.build.program import Program
from dltrain.build.varied import Varied
from dltrain.callbacks.signals import Signals
from dltrain.lanes.meeting import Lane, Meeting
from dltrain.report.console import Screen
from dltrain.report.drawing import import_plots
from dltrain.report.finish import try_to_compare
from dltrain.report.sweeps.board import Board, line_of, metric_of
from dltrain.report.width import for_terminal
from dltrain.runs.folder import RunFolder
from dltrain.sweep.best import Best
from dltrain.sweep.folds import Group, divide_by_fold, read_alike
from dltrain.sweep.groups import SweepJob, group_jobs, varied_of
from dltrain.sweep.known import Known, take
from dltrain.sweep.measure import Choice, choose_lanes, divide_lanes
from dltrain.sweep.plan import write_places
from dltrain.sweep.programs import Programs
from dltrain.training import EndedRun, Prepared, continue_job, prepare_like, prepare_run, start_run

Guard = Callable[[SweepJob, Callable[[], EndedRun | None]], EndedRun | None]
"""Trains a job, and records how it ended; a failure is reported, and returns None."""


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
    for some in group_jobs(jobs):
        for group in divide_by_fold(some, programs.read_alike if programs else read_alike):
            if signals.received:
                return
            first = group.jobs[0]
            alone = len(group.jobs) == 1 and not programs and (first.lanes or 1) == 1
            if alone and not first.population:
                board.say()
                with board.job(first.number, first.label) as follow:
                    ended = guard(first, lambda group=group: _train_alone(group.jobs[0], group.shared))
                    follow(ended.finished.summary if ended else None)
                if ended and best.consider(first, ended, drawn=True):
                    board.lead(first.number, first.label, metric_of(ended.finished.summary))
            else:
                _train_group(group, guard, signals, best, programs=programs, board=board)
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
        if best.consider(job, ended, drawn=True):
            board.lead(job.number, job.label, metric_of(ended.finished.summary))
    return left


def _train_alone(job: SweepJob, shared: Parts | None = None) -> EndedRun | None:
    """Train a job as a run like any other; `shared` are the parts of its fold, if others may have its program."""
    print(for_terminal(f"\njob {job.number}: {' '.join(job.words)}"), flush=True)
    screen = Screen(quiet=job.composed.config["quiet"])
    prepared = prepare_run(job.composed, screen, folder=job.folder, resumes=job.resumes, shared=shared)
    if job.composed.config["dry_run"]:
        return None
    return _start(job, prepared, screen)


def _start(job: SweepJob, prepared: Prepared, screen: Screen, **how: Any) -> EndedRun:
    """Train a job from its last checkpoint, or from the beginning; `how` as for `start_run`."""
    if job.population:
        how["exchange"] = job.population.member(job.number, prepared, how["signals"])
        if job.resumes:
            return continue_job(prepared, screen, step=job.population.resumed_at(job.number), **how)
    if job.resumes:
        return continue_job(prepared, screen, watch=job.watch, **how)
    return start_run(prepared, screen, overrides=job.words, label=job.label, watch=job.watch, **how)


def _train_group(
    together: Group,
    guard: Guard,
    signals: Signals,
    best: Best,
    *,
    programs: Programs | None,
    board: Board,
) -> None:
    """Train jobs that share a program; if it cannot be prepared, each of them says why."""
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
    if jobs[0].population:
        choice = jobs[0].population.choose_lanes(prepared.program, jobs, **began)
        screen.say(f"lanes   {choice.lanes}: {choice.why}")
    elif len(jobs) > 1 or first.lanes:
        choice = choose_lanes(prepared.program, jobs=len(jobs), **began)
        apart = ": a program for each of these numbers" if prepared.program.differences.keys else ""
        screen.say(f"lanes   {choice.lanes if choice.lanes > 1 else f'none{apart}'}: {choice.why}")
    group = _Group(prepared, choice, guard, signals, best, board, measured=len(jobs) > 1, folds=together)
    if programs:
        programs.keep(together, group)
    group.train(jobs)


def _with_varied(prepared: Prepared, job: SweepJob) -> Prepared:
    """Let the lanes of a program differ in the numbers in which the jobs of the sweep do."""
    if not (keys := varied_of(job)):
        return prepared
    varied = Varied(prepared.composed.config, prepared.composed.trust, keys)
    return replace(prepared, program=prepared.program.varying(varied))


@dataclass(frozen=True)
class _Seat:
    """Where a thread trains one job after the other."""

    number: int  # of the lane, among all of the sweep
    program: Program
    meeting: Meeting
    place: int  # in the meeting


@dataclass
class _Group:
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

    def train(self, jobs: Sequence[SweepJob]) -> None:
        """Train all jobs, in as many threads as there are lanes."""
        lanes = self.choice.lanes if len(jobs) > 1 or jobs[0].lanes else 1  # as it began
        if not self.folds.folds:
            self.compared = self.compared or try_to_compare(self.prepared.program, RunFolder(jobs[0].folder))
        waiting = deque(jobs)
        with self.signals.caught(), self.board.shown():
            if lanes == 1:
                write_places(jobs[0].sweep, 1, {job.number: 0 for job in jobs})
                self._work(self._by_numbers(jobs), None)
            else:
                self._train_lanes(waiting, lanes)
        if self.stopped:
            raise self.stopped[0]

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
        import_plots()  # of the best job, while the others train
        for thread in threads:
            thread.join()

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
                    ended = self.guard(job, lambda job=job, lane=lane: self._train_one(job, seat, lane))
                    follow(ended.finished.summary if ended else None)
            except BaseException as stopped:  # raised again in the main thread
                self.stopped.append(stopped)
                break
            if ended:
                self._print(job, ended)
                if self.best.consider(job, ended):
                    self.board.lead(job.number, job.label, metric_of(ended.finished.summary))
        if seat:
            seat.meeting.leave(seat.place)

    def _train_one(self, job: SweepJob, seat: "_Seat | None", lane: Lane | None) -> EndedRun:
        prepared = self._prepare(job, seat, lane)
        how: dict[str, Any] = {"signals": self.signals, "figures": False, "compared": self.compared}
        job = replace(job, watch=self.board.watching(job.number, job.watch))
        return _start(job, prepared, Screen(silent=True), **how)

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
