"""A process of a search: it trains one trial at a time, and asks the process of the search whether to prune it."""

import contextlib
import io
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dltrain.cli import faults
from dltrain.cli.job import train_all
from dltrain.cli.main import keep_libraries_quiet
from dltrain.cli.search_trial import Trial, watch
from dltrain.composition.launch import SweepStopped
from dltrain.devices.memory import device_use
from dltrain.report.sweeps.board import progress_callback
from dltrain.runs.files import Files
from dltrain.runs.sweep_files import JOBS
from dltrain.sweep.assignment import PREALLOCATE, assign, take_place
from dltrain.sweep.needs import Need, at_once, write_need
from dltrain.sweep.programs import Programs
from dltrain.sweep.workers import Parent

DRAW = "draw the best job"
PROGRESS_EVERY = 0.5  # seconds


class Trainer:
    """Trains trials; what it has compiled is used again by later ones."""

    def __init__(self, sweep: Path, wanted: int, devices: Sequence[str]) -> None:
        """Prepare this process: what it prints goes into a file of the sweep, and warnings to the parent.

        It takes one of `devices`, which `wanted` processes share as far as their memory allows.
        """
        log = (Files(sweep) / JOBS).append(log_name(os.getpid()))
        for descriptor in (1, 2):  # of libraries, too
            os.dup2(log.fileno(), descriptor)
        keep_libraries_quiet()
        faults.catch_signals()
        os.environ.setdefault(PREALLOCATE, "false")  # processes may share a GPU
        places = assign(at_once(wanted, devices, sweep), devices)
        self._place = take_place(places, sweep / JOBS, os.environ)
        self._programs = Programs()

    def __call__(self, task: Trial | str, parent: Parent) -> str:
        """Train a trial, or draw the figures of the best one of this process; return how that ended."""
        with contextlib.redirect_stderr(_Lines(parent)):
            if not isinstance(task, Trial):
                self._programs.best.draw()
                return "drawn"
            try:
                self._train(task, parent)
            except SweepStopped:
                return "stopped"
            finally:
                sys.stderr.flush()
        return "ended"

    def _train(self, trial: Trial, parent: Parent) -> None:
        asks = watch(trial, lambda evaluation, value: bool(parent.ask((evaluation, value))))

        def callbacks(plan: Any) -> Sequence[Any]:
            return [progress_callback(plan, _Seldom(parent)), *(asks(plan) if asks else ())]

        train_all(
            [trial.job],
            trial.fixed,
            watches={trial.number: callbacks},
            programs=self._programs,
            begun=[trial.number] if trial.proposal.begun else [],
        )
        if self._place and (used := device_use()):
            write_need(trial.job.sweep, trial.number, Need(*used))


def log_name(process: int) -> str:
    """Return the name of the file of what a process prints."""
    return f"worker-{process}.log"


class _Seldom:
    """Tells the parent how far a run is, a few times per second at most."""

    def __init__(self, parent: Parent) -> None:
        self._parent, self._last = parent, 0.0

    def __call__(self, **about: Any) -> None:
        if about["metric"] or time.monotonic() - self._last >= PROGRESS_EVERY:
            self._last = time.monotonic()
            self._parent.tell(about)


class _Lines(io.TextIOBase):
    """A stream whose lines are told to the parent."""

    def __init__(self, parent: Parent) -> None:
        self._parent, self._rest = parent, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._parent.tell(line)
        return len(text)
