"""Trials of a search in processes that one of Hydra's launchers starts: a batch at a time.

A launcher says what came of its jobs when all of them have ended. So trials are chosen in batches, each of which
waits for its slowest trial. Evaluations are reported to the study by the processes themselves, for pruning.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dltrain.cli.job import compose_jobs
from dltrain.cli.launched import divide, holding, in_steps, launch_places, take_device, train_planned
from dltrain.cli.output import outlive_readers
from dltrain.cli.search_plan import Plan
from dltrain.cli.search_trial import Trial, watch
from dltrain.composition.launch import Job
from dltrain.composition.settings import Settings
from dltrain.config.request import Override
from dltrain.errors import ConfigError
from dltrain.machine import cores
from dltrain.report.console import print_warning
from dltrain.report.sweeps.board import Board
from dltrain.sweep.assignment import at_a_time
from dltrain.sweep.plan import can_resume, has_configs, write_configs
from dltrain.sweep.programs import Programs
from dltrain.sweep.study import join_study, quiet, should_prune

INDEPENDENT = ("random", "qmc")  # samplers that do not look at results


@dataclass(frozen=True)
class Batches:
    """How a launcher trains the trials of a search."""

    settings: Settings
    config: Mapping[str, Any]  # of the first combination
    given: tuple[str, ...]  # words that choose the launcher
    typed: tuple[Override, ...]  # those that were typed

    @property
    def launcher(self) -> str:
        """The choice of hydra/launcher."""
        return self.settings.chosen["hydra/launcher"]

    @property
    def words(self) -> list[str]:
        """The words with which the search goes on: a launcher is not saved, as its settings may hold commands."""
        return [o.word for o in self.typed if o.key.startswith(("hydra/launcher", "hydra.launcher."))]

    @property
    def trials(self) -> int:
        """How many trials are chosen together: as many as joblib runs at a time, `sweep.workers` with others."""
        swept = self.config["sweep"]
        if self.launcher != "joblib":
            return swept["workers"]
        width = at_a_time("joblib", self.settings.launcher, jobs=swept["trials"], cores=cores()) or 1
        return max(width, swept["workers"]) if swept["sampler"] in INDEPENDENT else width

    def divide(self, plan: Plan) -> tuple[Plan, int]:
        """Divide this machine among the processes; return the plan of their trials, and how many share its GPUs."""
        word, processes = divide(self.settings, self.config, jobs=self.trials)
        divided = replace(plan, settings={**plan.settings, "workers": self.trials})
        return replace(divided, extra=(word,) if word else ()), processes

    def train(self, trials: Sequence[Trial], *, processes: int, study: str, best: float | None) -> None:
        """Train trials, each in a process; what came of them is in their folders.

        Args:
            trials: the trials, whose folders are there.
            processes: how many share the GPUs of this machine.
            study: the name of the study in its storage.
            best: the best value of what runs monitor so far; the figures of better runs are drawn.

        Raises:
            SweepStopped: a signal or a process that died has ended them.
            LockedError: a process of an earlier start still trains one.
        """
        sweep, folders = trials[0].job.sweep, trials[0].job.folders
        composed = compose_jobs([trial.job for trial in trials], trials[0].fixed)
        write_configs(sweep, composed)
        with holding(sweep, [job.number for job in composed]):
            pass
        ready = {job.number for job in composed}
        left = [trial for trial in trials if trial.number in ready]
        for some, now in in_steps(left, processes, sweep, launcher=self.launcher) if left else ():
            train = functools.partial(run_trial, tuple(some), study, now, best)
            launch_places(self.given, len(some), sweep, folders, settings=self.settings, train=train, processes=now)


def run_trial(trials: Sequence[Trial], study: str, processes: int, best: float | None, place: Job) -> float:
    """Train one trial of a batch, by its place in it, in a process of its own; its result is in its folder."""
    outlive_readers()
    trial = trials[place.number]
    take_device(processes, trial.job.sweep)
    if has_configs(trial.job.sweep):  # else the search has ended without it
        programs = _programs(trial.job.sweep)
        programs.best.begin_at(best)
        begun = can_resume(trial.job.folder)  # also if the launcher itself starts a process again
        trial = replace(trial, proposal=replace(trial.proposal, begun=begun))
        asks = watch(trial, _asks(trial, study))
        train_planned(trial.job, watch=asks, programs=programs, board=Board(1, quiet=True))
        programs.best.draw()
    return math.nan


@functools.cache
def _programs(sweep: Path) -> Programs:
    """Return what this process has compiled for the sweep: few launchers give it several trials."""
    del sweep
    return Programs(single=True)


def _asks(trial: Trial, study: str) -> Callable[[int, float], bool]:
    """Return what asks the pruner, at the first evaluation."""

    @functools.cache
    def joined() -> tuple[Any, Any] | None:
        settings = trial.settings
        try:
            return join_study(settings["storage"], trial.job.sweep, name=study, pruner=settings["pruner"])
        except ConfigError as error:
            print_warning(f"warning: job {trial.number} is not pruned: {error}")
            return None

    def ask(evaluation: int, value: float) -> bool:
        found = joined()
        if found is None:
            return False
        with quiet():
            return should_prune(*found, trial.proposal.id, evaluation, value)

    return ask
