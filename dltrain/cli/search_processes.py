"""A search in several processes (sweep.processes): each begins a trial as soon as it has ended the one before."""

import functools
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dltrain.callbacks.signals import Signals
from dltrain.cli.job import note_death
from dltrain.cli.search_trial import Trial, known_from, make_room, read_end, wait_for
from dltrain.cli.search_worker import DRAW, Trainer, log_name
from dltrain.composition.launch import SweepStopped
from dltrain.errors import Interrupted, Terminated
from dltrain.report.sweeps.board import KNOWN, Board, line_of, metric_of
from dltrain.report.width import for_terminal
from dltrain.runs.files import Files
from dltrain.runs.sweep_files import JOBS
from dltrain.sweep.needs import at_once, describe_need, read_need
from dltrain.sweep.search import Proposal, Search
from dltrain.sweep.workers import Died, Event, Workers, keep_busy

TRIES = 2  # of a trial whose process dies


@dataclass
class ProcessSearch:
    """Trains the trials of a search in processes."""

    found: Search
    board: Board
    make_trial: Callable[[Proposal], Trial]
    settle: Callable[[Proposal], bool]  # tells the study what came of a trial, if it has ended
    workers: Workers
    wanted: int = 0  # processes
    devices: Sequence[str] = ()  # that they share
    signals: Signals = field(default_factory=Signals)
    _again: deque[Trial] = field(default_factory=deque)  # trials whose process has died
    _deaths: dict[int, int] = field(default_factory=dict)  # number of a job -> how often
    _best: tuple[float, int] | None = None  # value, and the worker whose job it was
    _told: bool = False
    _printed: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Train until all trials have ended.

        Raises:
            SweepStopped: Ctrl-C or SIGTERM has ended all of them.
        """
        try:
            with self.signals.caught(), self.board.shown():
                keep_busy(self.workers, self._next, self._handle, stopping=self._stopping)
            if received := self.signals.received:
                raise SweepStopped(Interrupted.code if received.name == "SIGINT" else Terminated.code)
            self._draw()
        finally:
            self.workers.close()

    def _stopping(self) -> bool:
        """Tell whether a signal has arrived; the processes are told once."""
        if self.signals.received and not self._told:
            self._told = True
            self.workers.interrupt()
        return self._told

    def _next(self) -> Trial | None:
        while not self._again:
            proposal = self.found.propose_one()
            if proposal is None:
                return None
            trial = self.make_trial(proposal)
            if proposal.begun:
                wait_for(trial)
                if self.settle(proposal):
                    continue
            self._again.append(trial)
        trial = self._again.popleft()
        make_room(trial)
        self.board.begin(trial.number, trial.label)
        return trial

    def _handle(self, event: Event) -> None:
        trial, value = event.task, event.value
        self._stopping()
        if event.kind == "asked":
            self.workers.answer(event.worker, self.found.should_stop(trial.proposal, *value))
        elif event.kind == "told" and isinstance(value, str):
            self._print_once(value)
        elif event.kind == "told":
            self.board.progress(trial.number, **value)
        elif event.kind == "died":
            self._bury(trial, value)
        else:
            self._end(trial, event.worker)
            self._widen(trial.job.sweep)

    def _print_once(self, line: str) -> None:
        """Print a line on stderr; every process has the same warnings about the data."""
        if line not in self._printed:
            self._printed.add(line)
            print(line, file=sys.stderr, flush=True)

    def _end(self, trial: Trial, worker: int) -> None:
        """Take the result of a trial; one that a signal has ended has none."""
        if not self.settle(trial.proposal):
            self.board.end(trial.number)
            return
        ended, summary = read_end(trial)
        known = known_from(trial)
        done = KNOWN if known else "trained"
        self.board.end(trial.number, "failed" if not ended or ended.failed else "pruned" if ended.pruned else done)
        best = self.found.best() if len(self.found.study.directions) == 1 else None
        if best and best[0] == trial.number:
            self._best = best[1], worker
            self.board.lead(trial.number, trial.label, metric_of(summary))
        if summary:
            print(for_terminal(line_of(trial.number, trial.label, summary, known=known)), flush=True)

    def _widen(self, sweep: Path) -> None:
        """Use more processes, once it is known how many fit into the memory of their devices."""
        count = at_once(self.wanted, self.devices, sweep, ended=True) if self.devices else 0
        if count <= self.workers.count:
            return
        self.workers.count = count
        if need := read_need(sweep):
            print(f"dltrain: {describe_need(need, count, len(self.devices))}", file=sys.stderr, flush=True)

    def _bury(self, trial: Trial, died: Died) -> None:
        """Begin a trial whose process died again, from its last checkpoint; the second time it has failed."""
        if self._best and self._best[1] not in self.workers.started:
            self._best = None  # what draws it is gone
        self.board.end(trial.number)
        if self.settle(trial.proposal) or self._told:
            return
        self._deaths[trial.number] = self._deaths.get(trial.number, 0) + 1
        reason = f"{died}{self._last_words(trial, died)}"
        if self._deaths[trial.number] < TRIES:
            print(
                f"dltrain: job {trial.number}: {reason}; it goes on in another process", file=sys.stderr, flush=True
            )
            self._again.append(replace(trial, proposal=replace(trial.proposal, begun=True)))
            return
        print(f"dltrain: job {trial.number}: {reason}", file=sys.stderr, flush=True)
        note_death(trial.job, reason)
        self.board.begin(trial.number, trial.label)
        self.board.end(trial.number, "failed")
        self.settle(trial.proposal)

    def _last_words(self, trial: Trial, died: Died) -> str:
        """Return the last line that the process printed, if it ended by itself."""
        if died.code == -9:
            return ""
        path = (Files(trial.job.sweep) / JOBS).path / log_name(died.process)
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last[:200]}" if last else ""

    def _draw(self) -> None:
        """Let the process that has trained the best job draw its figures."""
        if self._best and self._best[1] in self.workers.started:
            self.workers.give(self._best[1], DRAW)
            keep_busy(self.workers, lambda: None, self._handle_drawing, stopping=lambda: False)

    def _handle_drawing(self, event: Event) -> None:
        if event.kind == "told" and isinstance(event.value, str):
            self._print_once(event.value)


def make_workers(wanted: int, sweep: Path, devices: Sequence[str]) -> Workers:
    """Make the processes of a search in this folder, which share these devices: first no more than there are."""
    return Workers(at_once(wanted, devices, sweep), functools.partial(Trainer, sweep, wanted, devices))
